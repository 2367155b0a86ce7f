#!/bin/sh
# The Debian package in a machine of its own, with the programs of Debian's Postfix in their places: installed, taking over
# smtpd, then all, upgraded, back, removed with programs taken over, purged with a message in the queue, and without. This
# machine's root file system below, everything new in memory, gone at the end. Prints a line "WHAT: EXIT STATUS" for each
# step. Exit status 77: no such machine here.
#
# By hand, as root: packaging/deb && unshare --mount --net --pid --fork sh tests/package.sh target/peers/root PACKAGE
set -u
peers=$1 package=$2
base=$(mktemp -d)
mount -t tmpfs tmpfs "$base"
mkdir "$base/up" "$base/work" "$base/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/up,workdir=$base/work" "$base/root" || exit 77
root=$base/root
command -v dpkg >/dev/null && command -v adduser >/dev/null || exit 77
cp -a "$peers/usr/." "$root/usr/" && cp "$package" "$root/postern.deb" || exit 77
mount -t proc proc "$root/proc"
ip link set lo up 2>/dev/null
mount --rbind /dev "$root/dev"
in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@" </dev/null; }
run() {
    what=$1
    shift
    in_root "$@" >"$base/out" 2>&1
    echo "$what: $?"
    grep -v '^(Reading database\|^Selecting\|^Preparing\|^Unpacking\|^Setting up\|^Removing\|^Purging' "$base/out" | sed 's/^/    /'
}
# Every program of Postfix's, with its content, mode and owner.
inventory() {
    (cd "$root" && for file in usr/lib/postfix/sbin/* usr/sbin/post[a-df-z]* usr/sbin/sendmail; do
        stat -c '%n %a %u:%g' "$file" && cksum <"$file"
    done)
}
# of NAME: whose program has Postfix's place.
of() {
    if cmp -s "$root/usr/lib/postfix/sbin/$1" "$root/usr/lib/postern/libexec/$1"; then echo "$1: Postern's"; else echo "$1: Postfix's"; fi
}
inventory >"$base/before"
install="dpkg --force-depends -i /postern.deb"
run "install" $install
run "modes" stat -c '%a %U:%G' /usr/lib/postern/bin/postdrop /usr/lib/postern/libexec/smtpd /var/lib/postern
run "list" postern-takeover --list
run "take over smtpd" postern-takeover smtpd
of smtpd
of cleanup
run "an unknown one" postern-takeover nothing
run "take over all" postern-takeover --all
of smtpd
of cleanup
run "upgrade" $install
run "list" postern-takeover --list
of cleanup
run "back" postern-takeover --back
inventory | cmp -s - "$base/before" && echo "as before"
run "take over again" postern-takeover smtpd postqueue
run "remove" dpkg --remove postern
inventory | cmp -s - "$base/before" && echo "as before"
run "install" $install
mkdir -p "$root/var/spool/postern/deferred"
echo x >"$root/var/spool/postern/deferred/ABC"
run "purge" dpkg --purge postern
ls "$root/var/spool/postern" "$root/etc/postern" 2>/dev/null
rm "$root/var/spool/postern/deferred/ABC"
run "install" $install
run "purge" dpkg --purge postern
ls -d "$root/var/spool/postern" "$root/etc/postern" "$root/usr/lib/postern" 2>/dev/null
run "accounts" grep -c postern /etc/passwd /etc/group
