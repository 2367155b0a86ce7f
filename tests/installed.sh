#!/bin/sh
# A machine of its own with Debian's Postfix installed as its package installs it, and on request Postern's programs
# in their places: this machine's root file system below, everything new in memory, gone at the end. Runs what Debian's
# unit file and init script run, and prints a line "WHAT: EXIT STATUS" for each step, then the log.
#
# The two folders hold links to the programs that are to replace Debian's, by name. Exit status 77: no such machine here.
# Called as root: unshare --mount --net --pid --fork sh tests/installed.sh PEERS LIBEXEC BIN
set -u
peers=$1 libexec=$2 bin=$3
base=$(mktemp -d)
mount -t tmpfs tmpfs "$base"
mkdir "$base/up" "$base/work" "$base/root" "$base/ours"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/up,workdir=$base/work" "$base/root" || exit 77
root=$base/root
cp -a "$peers/usr/." "$root/usr/" && cp -a "$peers/etc/." "$root/etc/" && cp -a "$peers/var/." "$root/var/" &&
    cp -a "$peers/lib/." "$root/lib/" || exit 77
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
unit=$root/lib/systemd/system/postfix@.service
ip link set lo up 2>/dev/null

# What the package's installation scripts would do.
cat >>"$root/etc/passwd" <<END
postfix:x:9901:9901::/var/spool/postfix:/usr/sbin/nologin
END
cat >>"$root/etc/group" <<END
postfix:x:9901:
postdrop:x:9902:
END
cp "$root/usr/share/postfix/master.cf.dist" "$root/etc/postfix/master.cf"
for name in dynamicmaps.cf main.cf.dist master.cf.dist; do
    cp "$root/usr/share/postfix/$name" "$root/etc/postfix/$(echo $name | sed 's/dist/proto/')"
done
cp "$root/usr/share/postfix/main.cf.debian" "$root/etc/postfix/main.cf"
cat "$root/usr/share/postfix/main.cf.tls" >>"$root/etc/postfix/main.cf" 2>/dev/null
chroot "$root" postconf -e compatibility_level=3.6 myhostname=mx.example.com maillog_file=/var/log/mail.log \
    smtpd_tls_security_level=none smtp_tls_security_level=none 'smtpd_tls_cert_file=' 'smtpd_tls_key_file=' 'smtp_tls_CApath=' \
    'alias_maps=' 'alias_database=' 'mydestination=example.com' 'local_recipient_maps=' inet_interfaces=loopback-only
# It stops at files that Debian's package does not have, but by then the queue is in order.
chroot "$root" postfix set-permissions >/dev/null 2>&1
chroot "$root" chgrp postdrop /usr/sbin/postqueue /usr/sbin/postdrop || exit 77
chroot "$root" chmod 2555 /usr/sbin/postqueue /usr/sbin/postdrop || exit 77

replaced=0
for program in "$root"/usr/lib/postfix/sbin/* "$root"/usr/sbin/*; do
    name=${program##*/}
    case $program in
        */usr/sbin/*) ours=$bin/$name ;;
        *) ours=$libexec/$name ;;
    esac
    [ -f "$ours" ] || continue
    install -m "$(stat -c %a "$program")" -g "$(stat -c %g "$program")" "$ours" "$program" || exit 77
    replaced=$((replaced + 1))
done
echo "replaced: $replaced"

run() {
    what=$1
    shift
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@" </dev/null >"$base/out" 2>&1
    echo "$what: $?"
    # Postern's postfix command also says on stderr what it logs; that is compared in the log.
    grep -Ev '^postfix/(postfix-script|postlog): ' "$base/out" | sed 's/^/    /'
}
of_unit() {
    for line in $(sed -n "s/^$1=//p" "$unit" | sed 's/%i/-/g; s/ /~/g'); do
        # shellcheck disable=SC2046  # a command line
        run "unit $1" $(echo "$line" | tr '~' ' ')
    done
}
of_unit ExecStartPre
of_unit ExecStart
run "postfix status" postfix status
run "master -t" /usr/lib/postfix/sbin/master -t
run "init status" /etc/init.d/postfix status
of_unit ExecReload
run "local message" sh -c 'echo "Subject: x" | sendmail -f root@example.com daemon@example.com'
run "smtp message" swaks --silent 3 --server 127.0.0.1 --from a@example.net --to daemon@example.com
turns=0
while [ "$(grep -c 'status=sent' "$root/var/log/mail.log")" -lt 2 ] && [ $turns -lt 120 ]; do
    turns=$((turns + 1))
    sleep 0.5
done
run "mailbox" grep -c '^From ' /var/mail/daemon
of_unit ExecStop
run "postfix status" postfix status
run "init status" /etc/init.d/postfix status
run "init start" /etc/init.d/postfix start
run "init status" /etc/init.d/postfix status
run "init reload" /etc/init.d/postfix reload
run "init check" /etc/init.d/postfix check
run "init stop" /etc/init.d/postfix stop
run "init status" /etc/init.d/postfix status
# A lock file that nobody holds, left by a crash.
printf '%32d\n' 1 >"$root/var/spool/postfix/pid/master.pid"
of_unit ExecStart
run "master" sh -c 'tr -d " \n" </var/spool/postfix/pid/master.pid | { read -r p; cat /proc/$p/comm; }'
of_unit ExecStop
echo "log:"
cat "$root/var/log/mail.log"
