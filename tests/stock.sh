#!/bin/sh
# A machine of its own with a later version of Debian's Postfix, configured as its package configures it, and started
# by what its unit runs. Under load Postern's smtpd, then its cleanup, then everything that Postern has takes the place of
# Debian's programs, and goes again. Mail is delivered all the time: by SMTP, and by an ordinary user's sendmail, to local,
# to virtual, to a command, to another host, back to its sender, and to nobody; and each message is asked about at a service of spawn's.
#
# What the unit takes away from the programs (capabilities, system calls, writable memory, most of /proc, write access)
# is taken away as far as this machine lets us, from the first start on.
#
# Prints a line "WHAT: EXIT STATUS" for each step, "lost: N" and "doubled: N", the kinds of hardening that were there, and the log.
# Called as root, in name spaces of its own: stock.sh PEERS VERSION LIBEXEC BIN ROUNDS. Exit status 77: not possible here.
set -u
peers=$1 version=$2 libexec=$3 bin=$4 rounds=$5
theirs=$peers/$version/root
here=$(dirname "$0")
base=$(mktemp -d)
mount -t tmpfs tmpfs "$base" || exit 77
mkdir "$base/up" "$base/work" "$base/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/up,workdir=$base/work" "$base/root" || exit 77
root=$base/root
# Programs of a later Debian find their libraries by full names.
mkdir -p "$root$peers" && mount --bind "$peers" "$root$peers" || exit 77
for folder in usr/lib/postfix usr/share/postfix usr/sbin usr/bin etc var; do
    [ ! -d "$theirs/$folder" ] || { mkdir -p "$root/$folder" && cp -a "$theirs/$folder/." "$root/$folder/"; } || exit 77
done
mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" || exit 77
ip link set lo up 2>/dev/null || exit 77
mkdir -p "$root/run/systemd/system" "$root/var/mail" "$root/home/joe" "$root/root/theirs"
chmod 1777 "$root/tmp" "$root/var/mail"
unit=$theirs/usr/lib/systemd/system/postfix.service
[ -e "$unit" ] || unit=$theirs/lib/systemd/system/postfix.service
cp "$here/hardened.pl" "$root/root/"

# What the package's installation scripts would do.
cat >>"$root/etc/passwd" <<END
postfix:x:9901:9901::/var/spool/postfix:/usr/sbin/nologin
joe:x:9903:9903::/home/joe:/bin/sh
END
cat >>"$root/etc/group" <<END
postfix:x:9901:
postdrop:x:9902:
joe:x:9903:
END
chown 9903:9903 "$root/home/joe"
cp "$root/usr/share/postfix/master.cf.dist" "$root/etc/postfix/master.cf"
cat "$root/usr/share/postfix/main.cf.debian" "$root/usr/share/postfix/main.cf.tls" >"$root/etc/postfix/main.cf"
if [ -e "$theirs/usr/share/postfix/postfix-files" ]; then rm -f "$root/etc/postfix/postfix-files"; fi
in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@" </dev/null; }
type=$(in_root postconf -h default_database_type)
in_root postconf -e myhostname=mx.example.com "alias_maps=$type:/etc/aliases" "alias_database=$type:/etc/aliases" \
    'mydestination=$myhostname, example.com, localhost.example.com, localhost' relayhost= mailbox_size_limit=0 \
    'smtpd_relay_restrictions=permit_mynetworks permit_sasl_authenticated defer_unauth_destination' recipient_delimiter=+ \
    inet_interfaces=all inet_protocols=ipv4 maillog_file=/var/log/mail.log || exit 77
# What the agents have to do, which no stock configuration gives them.
in_root postconf -e 'relay_domains=pipe.example smtp.example discard.example' virtual_alias_domains=alias.example \
    'virtual_alias_maps=inline:{back@alias.example=joe@error.example}' virtual_mailbox_domains=virtual.example \
    'virtual_mailbox_maps=inline:{joe@virtual.example=maildir/}' virtual_mailbox_base=/var/mail virtual_uid_maps=static:9903 \
    virtual_gid_maps=static:9903 \
    'transport_maps=inline:{pipe.example=command:, {smtp.example=smtp:[127.0.0.1]:2625}, {error.example=error:5.1.1 nobody}, discard.example=discard:}' \
    'smtpd_end_of_data_restrictions=check_policy_service unix:private/policy' || exit 77
cat >>"$root/etc/postfix/master.cf" <<'END'
command unix - n n - - pipe
  user=joe argv=/bin/sh /usr/local/lib/command
policy  unix - n n - 0 spawn
  user=nobody argv=/usr/bin/perl /usr/local/lib/policy
END
mkdir -p "$root/usr/local/lib" "$root/var/mail/maildir" "$root/var/mail/commands" "$root/var/mail/sink"
chown 9903:9903 "$root/var/mail/maildir" "$root/var/mail/commands" "$root/var/mail/sink"
echo 'cat >"$(mktemp /var/mail/commands/XXXXXXXX)"' >"$root/usr/local/lib/command"
echo '$| = 1; while (<STDIN>) { print "action=dunno\n\n" if /^$/ }' >"$root/usr/local/lib/policy"
# The package ssl-cert's.
mkdir -p "$root/etc/ssl/private" "$root/etc/ssl/certs"
in_root openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 400 -subj /CN=mx.example.com \
    -keyout /etc/ssl/private/ssl-cert-snakeoil.key -out /etc/ssl/certs/ssl-cert-snakeoil.pem 2>/dev/null || exit 77
[ -e "$root/etc/ssl/certs/ca-certificates.crt" ] || cp "$root/etc/ssl/certs/ssl-cert-snakeoil.pem" "$root/etc/ssl/certs/ca-certificates.crt"
printf 'postmaster: root\nlist: joe\n' >"$root/etc/aliases"
in_root newaliases
# It complains of manuals that nobody unpacked.
in_root postfix set-permissions >/dev/null 2>&1
in_root chgrp postdrop /usr/sbin/postqueue /usr/sbin/postdrop && in_root chmod 2755 /usr/sbin/postqueue /usr/sbin/postdrop || exit 77

# run WHAT COMMAND...: as a process of the unit.
run() {
    what=$1
    shift
    in_root INVOCATION_ID=1 MAIL_CONFIG=/etc/postfix "$@" >"$base/out" 2>&1
    echo "$what: $?"
    # What is said is compared in the log.
    grep -vE '^(postfix/[a-z-]*: |updating /|.* -> .lib/)' "$base/out" | sed 's/^/    /'
}
# What hardened.pl reads.
cp "$unit" "$root/root/unit"
systemd-analyze syscall-filter >"$root/root/sets" 2>/dev/null || :
cp /usr/include/x86_64-linux-gnu/asm/unistd_64.h "$root/root/" 2>/dev/null || :
# A line of the unit; with a plus, with all rights.
of_unit() {
    line=$(sed -n "s/^$1=//p" "$root/root/unit")
    # shellcheck disable=SC2086  # a command line
    case $line in
    +*) run "$1" ${line#+} ;;
    *) run "$1" perl /root/hardened.pl $line ;;
    esac
}

# by_smtp WORD COUNT RECIPIENT: so many messages of this round.
by_smtp() {
    in_root smtp-source -s 4 -m "$2" -S "$1-$round" -f joe@example.com -t "$3" 127.0.0.1:25 >>"$base/errors" 2>&1 &&
        echo "$1-$round $2" >>"$base/acknowledged"
}
# The load, in rounds: messages by SMTP, one by sendmail. Nobody connects while there is a file "pause".
load() {
    round=0
    while [ ! -e "$base/stop" ]; do
        if [ -e "$base/pause" ]; then
            : >"$base/paused"
            sleep 0.05
            continue
        fi
        rm -f "$base/paused"
        round=$((round + 1))
        by_smtp smtp 16 list@example.com
        by_smtp virtual 4 joe@virtual.example
        by_smtp pipe 4 joe@pipe.example
        by_smtp relay 4 joe@smtp.example
        by_smtp error 2 back@alias.example
        by_smtp discard 2 joe@discard.example
        printf 'Subject: local-%s\n\nhello\n' "$round" |
            chroot --userspec=joe "$root" env -i /usr/sbin/sendmail -f joe joe >>"$base/errors" 2>&1 &&
            echo "local-$round 1" >>"$base/acknowledged"
        echo $round >"$base/round"
    done
    : >"$base/paused"
}
# await TEST...: until it is true, or a minute has passed.
await() {
    turns=0
    until eval "$1"; do
        turns=$((turns + 1))
        [ $turns -lt 1200 ] || { echo "no $1"; return 1; }
        sleep 0.05
    done
}
more() {
    from=$(cat "$base/round")
    await "[ \$(cat $base/round) -ge $((from + rounds)) ]"
}
pause() { : >"$base/pause" && await "[ -e $base/paused ]"; }
go_on() { rm -f "$base/pause"; }
# put NAME FILE: FILE in the place of the program, in one moment; no process of the old one is left behind a reload.
put() {
    cp -p "$2" "$1.new" && chown --reference="$1" "$1.new" && chmod --reference="$1" "$1.new" && mv "$1.new" "$1"
}
daemons=$root/usr/lib/postfix/sbin
keep() { [ -e "$root/root/theirs/${1##*/}" ] || cp -p "$1" "$root/root/theirs/"; }
one() {
    keep "$daemons/$1"
    for from in "$libexec/$1" "$root/root/theirs/$1"; do
        put "$daemons/$1" "$from"
        of_unit ExecReload
        more
        await "! ls -l $root/proc/[0-9]*/exe 2>/dev/null | grep -q 'sbin/$1.*(deleted)'"
        echo "$1 exchanged: $?"
    done
}
everything() {
    count=0
    for from in "$libexec"/* "$bin"/*; do
        name=${from##*/}
        for program in "$daemons/$name" "$root/usr/sbin/$name"; do
            [ -f "$program" ] && [ ! -L "$program" ] || continue
            case "$program:$from" in "$daemons"*:"$libexec"* | "$root/usr/sbin"*:"$bin"*) ;; *) continue ;; esac
            keep "$program"
            [ "$1" = ours ] || from=$root/root/theirs/$name
            put "$program" "$from" && count=$((count + 1))
        done
    done
    echo "everything $1: $((count > 20))"
}

: >"$base/errors"
# The other host: each message is a file.
in_root smtp-sink -u joe -d /var/mail/sink/%H. 127.0.0.1:2625 128 &
: >"$base/acknowledged"
echo 0 >"$base/round"
of_unit ExecStartPre
of_unit ExecStart
load &
loading=$!
more
one smtpd
one cleanup
for side in ours theirs; do
    pause
    of_unit ExecStop
    everything $side
    of_unit ExecStartPre
    of_unit ExecStart
    go_on
    more
    run status postfix status
    of_unit ExecReload
    more
done
: >"$base/stop"
wait "$loading"
# What was put off while something was exchanged has its turn.
await "in_root postqueue -f; sleep 0.3; [ \"\$(in_root postqueue -p)\" = 'Mail queue is empty' ]"
await "! ls $root/var/spool/postfix/maildrop $root/var/spool/postfix/incoming | grep -q '^[0-9A-F][0-9A-F]*\$'"
of_unit ExecStop
lost=0 doubled=0
# What came back has its subject inside of the notice.
{
    grep -h '^Subject: ' "$root/var/mail/joe"
    cat "$root"/var/mail/maildir/new/* "$root"/var/mail/commands/* "$root"/var/mail/sink/* | grep '^Subject: '
    # Nothing else tells of those.
    grep '^discard-' "$base/acknowledged" | while read -r subject count; do yes "Subject: $subject" | head -n "$count"; done
} | sort | uniq -c | sed 's/Subject: //' >"$base/arrived"
while read -r subject count; do
    got=$(awk -v subject="$subject" '$2 == subject { print $1 }' "$base/arrived")
    [ "${got:-0}" -ge "$count" ] || lost=$((lost + count - ${got:-0}))
    [ "${got:-0}" -le "$count" ] || doubled=$((doubled + got - count))
done <"$base/acknowledged"
sed 's/^/client: /' "$base/errors"
echo "lost: $lost"
echo "doubled: $doubled"
discarded=$(grep -c 'relay=none, .*status=sent (discard.example)' "$root/var/log/mail.log")
echo "discarded: $((discarded >= $(awk '/^discard-/ { n += $2 } END { print n + 0 }' "$base/acknowledged")))"
echo "acknowledged: $(awk '{ n += $2 } END { print n }' "$base/acknowledged")"
echo "hardening: $(sort -u "$root/root/hardening" 2>/dev/null | tr '\n' ' ')"
echo "log:"
cat "$root/var/log/mail.log"
