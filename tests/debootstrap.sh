#!/bin/sh
# Installs Postern into a Debian made by debootstrap: beside the package's Postfix, in its place, and back, with local mail
# by an ordinary user each time. Run by hand, as root, after `make`:
#
#     tests/debootstrap.sh             # takes about two minutes, most of it debootstrap's
#
# POSTERN_DEBIAN=FOLDER keeps the bare Debian there for the next run; POSTERN_STAGE=FOLDER names other programs than those
# of target/stage. Exit status 77: not possible here, and why. All of it happens in name spaces of its own.
set -eu
cd "$(dirname "$0")/.."

cannot() {
    echo "skipped: $*"
    exit 77
}
if [ -z "${INNER:-}" ]; then
    [ "$(id -u)" = 0 ] || cannot "only root can make a Debian"
    command -v debootstrap >/dev/null || cannot "no debootstrap (package debootstrap)"
    unshare --mount --net --pid --fork true 2>/dev/null || cannot "no name spaces here"
    base=$(mktemp -d)
    trap 'rm -rf "$base"' EXIT
    debian=${POSTERN_DEBIAN:-$base/debian}
    if [ ! -d "$debian/var/lib/dpkg" ]; then
        # shellcheck disable=SC2016  # apt's own names
        mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 2>/dev/null | awk '$1 == "bookworm" { print $2; exit }')
        debootstrap --variant=minbase --include=postfix bookworm "$debian" "${mirror:-http://deb.debian.org/debian}" \
            >"$base/debootstrap.log" 2>&1 || cannot "debootstrap failed: $(tail -1 "$base/debootstrap.log")"
    fi
    cp -a "$debian" "$base/root"
    INNER=$base/root unshare --mount --net --pid --fork --kill-child "$0"
    exit
fi

root=$INNER
stage=${POSTERN_STAGE:-target/stage}
ours=/usr/local/libexec/postern/bin
config=/usr/local/etc/postern
mount -t proc proc "$root/proc"
ip link set lo up 2>/dev/null || :
step() { echo "== $*"; }
wrong() {
    echo "FAILED: $*"
    cat "$root/var/log/mail.log" 2>/dev/null | tail -40
    exit 1
}
in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@" </dev/null; }
# Every file with its mode, owner and content, and what dpkg knows; without what running programs change.
inventory() {
    (
        cd "$root"
        find usr etc -type f -printf '%p %m %U:%G ' -exec cksum {} \; | awk '{ print $1, $2, $3, $4 }' | sort
        find usr etc ! -type f -printf '%p %y %m %U:%G %l\n' | sort
        chroot . dpkg-divert --list
    )
}
compare() {
    inventory >"$root/tmp/now"
    diff "$1" "$root/tmp/now" || wrong "$2"
}
# mail SUBJECT COMMAND...: an ordinary user sends himself a message, and has it.
mail() {
    subject=$1
    shift
    printf 'Subject: %s\n\nhello\n' "$subject" | chroot --userspec=joe "$root" env -i "$@" -f joe joe ||
        wrong "$subject: sendmail exits with $?"
    turns=0
    until grep -qx "Subject: $subject" "$root/var/mail/joe" 2>/dev/null; do
        turns=$((turns + 1))
        [ $turns -lt 240 ] || wrong "$subject: not delivered"
        sleep 0.25
    done
    echo "$subject: delivered"
}
# master_of QUEUE: the program that the running master is.
master_of() { in_root readlink "/proc/$(tr -d ' \n' <"$root$1/pid/master.pid")/exe"; }

in_root useradd --create-home joe
if [ ! -e "$root/etc/postfix/main.cf" ]; then cp "$root/usr/share/postfix/main.cf.debian" "$root/etc/postfix/main.cf"; fi
in_root postconf -e compatibility_level=3.6 myhostname=mx.example.com mydestination=mx.example.com maillog_file=/var/log/mail.log \
    inet_interfaces=loopback-only inet_protocols=ipv4 alias_maps= alias_database= smtpd_tls_security_level=none mailbox_command=
inventory >"$root/tmp/before"

step "beside Debian's Postfix"
in_root postfix start >/dev/null 2>&1 || wrong "Debian's postfix start"
mail "from Debian's" /usr/sbin/sendmail
make -s install DESTDIR="$root" STAGE="$stage"
# Port 25 is Debian's.
sed -i 's/^smtp  *inet/127.0.0.1:2525 inet/' "$root$config/master.cf"
in_root "$ours/postconf" -c "$config" myhostname=mx.example.com mydestination=mx.example.com alias_maps= \
    maillog_file=/var/log/mail.log inet_protocols=ipv4
in_root "$ours/postfix" -c "$config" start || wrong "postfix start"
mail "beside, through Postern" MAIL_CONFIG=$config $ours/sendmail
mail "beside, through Postfix" /usr/sbin/sendmail
[ "$(master_of /var/spool/postern)" = "/usr/local/libexec/postern/master" ] || wrong "another master: $(master_of /var/spool/postern)"
[ "$(master_of /var/spool/postfix)" = "/usr/lib/postfix/sbin/master" ] || wrong "Debian's master is $(master_of /var/spool/postfix)"
chroot --userspec=joe "$root" env -i $ours/sendmail -C $config -bp | grep -qx 'Mail queue is empty' || wrong "mailq"

step "installed again"
make -s install DESTDIR="$root" STAGE="$stage"
[ -z "$(find "$root$config" -name '*.new')" ] || wrong "new files: $(find "$root$config" -name '*.new')"
mail "after the second install" MAIL_CONFIG=$config $ours/sendmail

step "uninstalled"
in_root "$ours/postfix" -c "$config" stop
make -s uninstall DESTDIR="$root" STAGE="$stage"
rm -r "$root$config"
compare "$root/tmp/before" "something is left, or gone"
mail "Debian's alone" /usr/sbin/sendmail

step "in Postfix's place"
make -s install DESTDIR="$root" STAGE="$stage" REPLACE_POSTFIX=yes
stat -c '%a %U:%G %n' "$root/usr/sbin/postdrop" "$root/usr/sbin/postqueue" | sed "s|$root||"
[ "$(stat -c '%a %g' "$root/usr/sbin/postdrop")" = "$(stat -c '%a %g' "$root/usr/sbin/postdrop.distrib")" ] || wrong "mode of postdrop"
in_root dpkg-divert --list | grep -c '^local diversion' || :
in_root postfix stop >/dev/null 2>&1
in_root postfix start || wrong "postfix start"
cmp -s "$root/usr/lib/postfix/sbin/master" "$root/usr/lib/postfix/sbin/master.distrib" && wrong "the master is still Debian's"
mail "in place" /usr/sbin/sendmail
chroot --userspec=joe "$root" env -i /usr/bin/mailq | grep -qx 'Mail queue is empty' || wrong "mailq"
make -s install DESTDIR="$root" STAGE="$stage" REPLACE_POSTFIX=yes
mail "in place, after the second install" /usr/sbin/sendmail
if package=$(ls "$root"/var/cache/apt/archives/postfix_*.deb 2>/dev/null); then
    in_root env DEBIAN_FRONTEND=noninteractive dpkg -i "${package#"$root"}" >"$root/tmp/dpkg" 2>&1 || { cat "$root/tmp/dpkg"; wrong "the package's upgrade"; }
    mail "after an upgrade of the package" /usr/sbin/sendmail
    cmp -s "$root/usr/lib/postfix/sbin/master" "$root/usr/lib/postfix/sbin/master.distrib" && wrong "the upgrade went to the wrong file"
    make -s install DESTDIR="$root" STAGE="$stage" REPLACE_POSTFIX=yes
    mail "after another install" /usr/sbin/sendmail
fi

step "back"
in_root postfix stop >/dev/null 2>&1
make -s uninstall DESTDIR="$root" STAGE="$stage" REPLACE_POSTFIX=yes
compare "$root/tmp/before" "something is left, or gone"
in_root postfix start >/dev/null 2>&1
mail "Debian's again" /usr/sbin/sendmail
in_root postfix stop >/dev/null 2>&1
grep -E 'warning: |error: |fatal: |panic: ' "$root/var/log/mail.log" && wrong "complaints"
echo "all of it"
