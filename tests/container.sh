#!/bin/sh
# Postern as the first process of a container: any user, a root file system that is read-only, a main.cf completed by the
# environment, and the log on standard output, which is a pipe of somebody else's. Prints "WHAT: EXIT STATUS" for each
# step, then the log. Everything is gone at the end. Exit status 77: no such container here.
#
# Called as root: unshare --mount --net --pid --fork sh tests/container.sh LIBEXEC BIN
set -u
libexec=$1 bin=$2
uid=54321
base=$(mktemp -d)
mount -t tmpfs tmpfs "$base" && mount -t proc proc /proc || exit 77
root=$base/root
mkdir "$root" "$base/etc"
mount --rbind / "$root" && mount -o remount,ro,bind "$root" || exit 77
ip link set lo up 2>/dev/null
# What is written to, as volumes: the one may be anybody's, the other goes with the container.
mount -t tmpfs -o mode=1777 tmpfs "$root/var/spool" && mount -t tmpfs -o mode=1777 tmpfs "$root/run" || exit 77
mkdir "$root/run/config"
cat >"$root/run/config/main.cf" <<END
compatibility_level = 3.6
queue_directory = /var/spool/postern/queue
data_directory = /var/spool/postern/data
daemon_directory = $libexec
command_directory = $bin
maillog_file = /dev/stdout
maillog_events = /dev/stdout
maillog_copies = /var/spool/postern/mail.log
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
in_flow_delay = 0
END
cat >"$root/run/config/master.cf" <<END
127.0.0.1:2525 inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
rewrite unix - - n - - trivial-rewrite
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
END
chmod 755 "$root/run/config"
mount --bind "$root/run/config" "$root/run/config" && mount -o remount,ro,bind "$root/run/config" || exit 77

run() {
    what=$1
    shift
    inside "$@" >"$base/out" 2>&1
    echo "$what: $?"
    sed 's/^/    /' "$base/out"
}
# The programs may lie where not everybody may look.
chroot --userspec=$uid:$uid "$root" test -x "$bin/postfix" || exit 77
# The log's pipe is the superuser's.
mkfifo "$base/pipe"
cat "$base/pipe" >"$base/log" &
unshare --pid --fork --kill-child sh -c "mount -t proc proc '$root/proc'; exec chroot --userspec=$uid:$uid '$root' \
    /usr/bin/env -i POSTFIX_myhostname=pod.example.com 'POSTFIX_mydestination=\$myhostname, example.com' \
    '$bin/postfix' -c /run/config start-fg --environment=/run/made" >"$base/pipe" 2>&1 </dev/null &
container=$!
# Other commands join it, as `podman exec` does.
first() { tr -d " " <"/proc/$container/task/$container/children"; }
inside() {
    nsenter --pid --target "$(first)" chroot --userspec=$uid:$uid "$root" \
        /usr/bin/env -i PATH=/usr/bin:/bin MAIL_CONFIG=/run/made "$@" </dev/null
}
turns=0
until inside "$bin/postern-health" live >/dev/null 2>&1 || [ $turns -ge 150 ]; do
    turns=$((turns + 1))
    sleep 0.1
done
run "root is read-only" sh -c 'touch /nobody-may 2>/dev/null || touch /etc/nobody-may 2>/dev/null || echo yes'
run "postern-health" "$bin/postern-health" ready
run "postconf" "$bin/postconf" -h myhostname mydestination
# shellcheck disable=SC2016  # the inner shell's
run "message" /bin/bash -c '
    exec 3<>/dev/tcp/127.0.0.1/2525
    say() { printf "%s\r\n" "$1" >&3; read -r line <&3; echo "${line%?}"; }
    read -r line <&3; echo "${line%?}"
    say "HELO a"; say "MAIL FROM:<a@example.net>"; say "RCPT TO:<b@example.com>"; say DATA
    printf "Subject: x\r\n\r\nx\r\n" >&3; say .; say QUIT'
run "in the queue" sh -c 'ls /var/spool/postern/queue/incoming | wc -l'
run "in the copy of the log" grep -c 'client=' /var/spool/postern/mail.log
# As podman stop does.
kill -TERM "$(first)"
wait $container
echo "start-fg: $?"
wait
echo "log:"
cat "$base/log"
