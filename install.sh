#!/bin/sh
# Installs what `make` has built, and takes it away again. `make install` and `make uninstall` call this; it needs neither
# cargo nor the network. The variables below are those of the make command line.
#
# Beside an installed Postfix, or where there is none (the default): everything in folders of Postern's own, and a main.cf
# that names them. In Postfix's place (REPLACE_POSTFIX=yes): each program that Postern has takes the place, owner and mode
# of Postfix's, which stays beside it as PROGRAM.distrib; dpkg is told (dpkg-divert), so that upgrades of the package go
# there (all but postconf, which is Debian's again after an upgrade). Each program is exchanged in one step: at no time is
# one missing. PROGRAMS="smtpd cleanup" are some of them; others may follow, and all go back together.
#
# What was done is written down in $PREFIX/share/postern, as lines "KIND PATH"; uninstall does it backwards.
set -eu
cd "$(dirname "$0")"

: "${DESTDIR:=}" "${PREFIX:=/usr/local}" "${REPLACE_POSTFIX:=no}" "${PROGRAMS:=all}" "${STAGE:=target/stage}"
: "${MAIL_OWNER:=postfix}" "${SETGID_GROUP:=postdrop}" "${REGISTER:=yes}" "${LINK_POSTFIX_DAEMONS:=yes}"
: "${UNIT_DIRECTORY:=$PREFIX/share/postern/systemd}" "${MAN_DIRECTORY:=$PREFIX/share/postern/man}" "${CONFIG_DIRECTORY:=$PREFIX/etc/postern}"
is_root=no
[ "$(id -u)" != 0 ] || is_root=yes
if [ $is_root = yes ]; then
    : "${QUEUE_DIRECTORY:=/var/spool/postern}" "${DATA_DIRECTORY:=/var/lib/postern}"
else
    : "${QUEUE_DIRECTORY:=$PREFIX/var/spool}" "${DATA_DIRECTORY:=$PREFIX/var/lib}"
fi
# Where Postfix's own files are, and its set-gid programs look for the directories that ordinary users may name.
postfix_config=$DESTDIR/etc/postfix
postfix_daemons=/usr/lib/postfix/sbin
[ -d "$DESTDIR$postfix_daemons" ] || postfix_daemons=/usr/libexec/postfix
if [ "$REPLACE_POSTFIX" = yes ]; then
    list=${LIST:-$PREFIX/share/postern/replaced}
    : "${DAEMON_DIRECTORY:=$postfix_daemons}" "${COMMAND_DIRECTORY:=/usr/sbin}"
else
    list=$PREFIX/share/postern/installed
    : "${DAEMON_DIRECTORY:=$PREFIX/libexec/postern}" "${COMMAND_DIRECTORY:=$PREFIX/libexec/postern/bin}"
fi

say() { echo "${0##*/}: $*"; }
fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}
# programs KIND: their names. In Postfix's place, those of them that are asked for.
programs() { all_programs "$1" | while read -r name; do ! is_wanted "$name" || echo "$name"; done; }
is_wanted() {
    [ "$REPLACE_POSTFIX" = yes ] && [ "$PROGRAMS" != all ] || return 0
    case " $PROGRAMS " in *" $1 "*) ;; *) return 1 ;; esac
}
all_programs() { awk -v kind="$1" '$2 == kind { print $1 }' programs; }
# faces KIND: other names of programs of that kind, each with the program's.
faces() { all_faces "$1" | while read -r name of; do ! is_wanted "$name" || echo "$name $of"; done; }
all_faces() { awk -v kind="$1" '$2 == kind { of[$1] } $2 == "face" && ($3 in of) { print $1, $3 }' programs; }
# is_file NAME KIND: what the column `file` says of a program.
is_file() { awk -v name="$1" -v kind="$2" '$1 == name && $4 == kind { found = 1 } END { exit !found }' programs; }
# note KIND PATH: one line in the list of what was done.
note() {
    grep -qxF "$1 $2" "$DESTDIR$list" 2>/dev/null || echo "$1 $2" >>"$DESTDIR$list"
}
is_ours() { grep -qxF -e "file $1" -e "replaced $1" "$DESTDIR$list" 2>/dev/null; }
# folder PATH: makes it, and notes what did not exist.
folder() {
    [ -d "$DESTDIR$1" ] && return
    folder "$(dirname "$1")"
    mkdir "$DESTDIR$1"
    chmod 755 "$DESTDIR$1"
    [ ! -d "$DESTDIR${list%/*}" ] || note folder "$1"
}
# The number of an account in the root folder we install into, which need not be this machine's.
number_of() { awk -F: -v name="$2" '$1 == name { print $3 }' "$DESTDIR/etc/$1" 2>/dev/null || :; }
lookup() {
    found=$(number_of "$1" "$2")
    [ -n "$found" ] || [ -n "$DESTDIR" ] || found=$(getent "$1" "$2" 2>/dev/null | cut -d: -f3)
    echo "$found"
}
# bare PROGRAM COPY: a copy without symbols and debug information, which stay in the stage.
bare() {
    if command -v strip >/dev/null; then
        strip -o "$2" "$1"
    else
        cp "$1" "$2"
    fi
}

# is_replaced PATH: whether there is a program whose owner and mode go on.
is_replaced() { [ "$REPLACE_POSTFIX" = yes ] && [ -e "$DESTDIR$1" ]; }
# rights PATH: owner and mode that a program gets: those of the one it replaces, or the usual ones.
rights() {
    if is_replaced "$1"; then stat -c '%u:%g %a' "$DESTDIR$1"; else echo "$(id -u):$(id -g) 755"; fi
}
# What programs have in common that are names of one file: for each owner and mode, as "RIGHTS=PATH", the name that was
# installed first.
shared=''
shared_as() { echo "$shared" | sed -n "s|^$1=||p"; }

# program STAGED NAME PATH: puts a program at its place, in one step. Names of one file are links where they have the same
# owner and mode.
program() {
    rights=$(rights "$3") same=''
    if is_file "$2" shared; then same=$(shared_as "$rights"); fi
    if [ -n "$same" ] && ln -f "$same" "$DESTDIR$3.new" 2>/dev/null; then
        :
    else
        bare "$1" "$DESTDIR$3.new"
        size=$((size + $(stat -c %s "$DESTDIR$3.new")))
        if [ $is_root = yes ]; then chown "${rights% *}" "$DESTDIR$3.new"; fi
        chmod "${rights#* }" "$DESTDIR$3.new"
        if ! is_replaced "$3" && [ $is_root = yes ] && is_file "$2" set-gid && [ -n "$gid" ]; then
            chgrp "$gid" "$DESTDIR$3.new"
            chmod 2555 "$DESTDIR$3.new"
        fi
        if is_file "$2" shared && [ -z "$same" ]; then
            shared="$shared
$rights=$DESTDIR$3"
        fi
    fi
    if [ "$REPLACE_POSTFIX" = yes ] && [ -e "$DESTDIR$3" ] && ! is_ours "$3"; then
        keep "$3"
    elif is_overwritten "$3"; then
        ln -f "$DESTDIR$3" "$DESTDIR$3.distrib"
    elif ! is_ours "$3"; then
        note file "$3"
    fi
    [ "$REPLACE_POSTFIX" != yes ] || note "sum $(checksum "$3.new")" "$3"
    mv -f "$DESTDIR$3.new" "$DESTDIR$3"
    count=$((count + 1))
}

# divert OPTION... PATH: dpkg-divert in the root folder, where the file is a package's.
divert() { dpkg-divert ${DESTDIR:+--root "$DESTDIR"} --local --no-rename --quiet "$@"; }
is_packaged() {
    command -v dpkg-divert >/dev/null && [ -d "$DESTDIR/var/lib/dpkg" ] &&
        dpkg-query --admindir="$DESTDIR/var/lib/dpkg" --search "$1" >/dev/null 2>&1
}

checksum() { cksum <"$DESTDIR$1" | tr ' ' -; }
# is_overwritten PATH: a program that was replaced without telling dpkg, and is the package's again after an upgrade.
is_overwritten() {
    grep -qxF "replaced $1" "$DESTDIR$list" && ! grep -qxF "diverted $1" "$DESTDIR$list" &&
        ! grep -qxF "sum $(checksum "$1") $1" "$DESTDIR$list"
}

# keep PATH: Postfix's program gets its second name, and keeps the first one for now.
keep() {
    [ ! -e "$DESTDIR$1.distrib" ] || fail "$1.distrib is in the way"
    # Debian's package cannot be upgraded while its postconf is diverted: its preinst script fails at that.
    if [ "${1##*/}" != postconf ] && is_packaged "$1"; then
        divert --divert "$1.distrib" --add "$1"
        note diverted "$1"
    fi
    ln "$DESTDIR$1" "$DESTDIR$1.distrib" 2>/dev/null || cp -a "$DESTDIR$1" "$DESTDIR$1.distrib"
    note replaced "$1"
}

# give_back PATH: Postfix's program at its first name, with the owner and mode that the name has by now.
give_back() {
    if is_overwritten "$1"; then
        rm -f "$DESTDIR$1.distrib"
    elif [ -e "$DESTDIR$1.distrib" ]; then
        chown --reference="$DESTDIR$1" "$DESTDIR$1.distrib"
        chmod --reference="$DESTDIR$1" "$DESTDIR$1.distrib"
        mv -f "$DESTDIR$1.distrib" "$DESTDIR$1"
    else
        # The package has gone meanwhile.
        rm -f "$DESTDIR$1"
    fi
}

# settings FILE: a configuration file as it is to be installed, on standard output.
settings() {
    case $1 in
        main.cf)
            sed -e "s|^#queue_directory = .*|queue_directory = $QUEUE_DIRECTORY|" \
                -e "s|^#data_directory = .*|data_directory = $DATA_DIRECTORY|" \
                -e "s|^#daemon_directory = .*|daemon_directory = $DAEMON_DIRECTORY|" \
                -e "s|^#command_directory = .*|command_directory = $COMMAND_DIRECTORY|" \
                -e "s|^#sendmail_path = .*|sendmail_path = $COMMAND_DIRECTORY/sendmail|" \
                -e "s|^#mailq_path = .*|mailq_path = $COMMAND_DIRECTORY/mailq|" \
                -e "s|^#newaliases_path = .*|newaliases_path = $COMMAND_DIRECTORY/newaliases|" \
                -e "s|^#manpage_directory = .*|manpage_directory = $MAN_DIRECTORY|" \
                -e "s|^#mail_owner = .*|mail_owner = $MAIL_OWNER|" \
                -e "s|^#setgid_group = .*|setgid_group = $SETGID_GROUP|" etc/main.cf
            ;;
        *) cat "etc/$1" ;;
    esac
}

# configuration FILE: installs it; one that was changed stays, and a newer one lies beside it.
configuration() {
    path=$CONFIG_DIRECTORY/$1
    settings "$1" >"$DESTDIR$path.tmp"
    chmod 644 "$DESTDIR$path.tmp"
    if [ ! -e "$DESTDIR$path" ]; then
        mv "$DESTDIR$path.tmp" "$DESTDIR$path"
        note "config $(checksum "$path")" "$path"
    elif cmp -s "$DESTDIR$path" "$DESTDIR$path.tmp" || cmp -s "$DESTDIR$path.new" "$DESTDIR$path.tmp" ||
        grep -qxF "config $(checksum "$path.tmp") $path" "$DESTDIR$list"; then
        # The same, or nothing new since the last time: what differs is the administrator's.
        rm "$DESTDIR$path.tmp"
    elif grep -qx "config $(checksum "$path") $path" "$DESTDIR$list"; then
        # As it was installed: nobody's work is lost.
        mv "$DESTDIR$path.tmp" "$DESTDIR$path"
        grep -v "^config [0-9-]* $path\$" "$DESTDIR$list" >"$DESTDIR$list.tmp" || :
        mv "$DESTDIR$list.tmp" "$DESTDIR$list"
        note "config $(checksum "$path")" "$path"
        rm -f "$DESTDIR$path.new"
    else
        mv "$DESTDIR$path.tmp" "$DESTDIR$path.new"
        note file "$path.new"
        say "$path differs from what would be installed, which is now $path.new"
    fi
}

# unit PATH: the unit for systemd, with the folders that are installed into.
unit() {
    sed -e "s|@CONFIG_DIRECTORY@|$CONFIG_DIRECTORY|g; s|@COMMAND_DIRECTORY@|$COMMAND_DIRECTORY|g" \
        -e "s|@QUEUE_DIRECTORY@|$QUEUE_DIRECTORY|g; s|@DATA_DIRECTORY@|$DATA_DIRECTORY|g" \
        -e '/^# A unit for an instance/,/^# the folders in place/d' etc/systemd/postern.service >"$DESTDIR$1"
    chmod 644 "$DESTDIR$1"
    note file "$1"
}

# The set-gid programs believe an ordinary user's -C or MAIL_CONFIG only if the default main.cf lists the directory.
registered() {
    [ -e "$postfix_config/main.cf" ] || return 0
    "$STAGE/bin/postconf" -c "$postfix_config" -h alternate_config_directories 2>/dev/null
}
register() {
    case " $(registered | tr , ' ') " in *" $CONFIG_DIRECTORY "*) return ;; esac
    if [ ! -e "$postfix_config/main.cf" ]; then
        mkdir -p "$postfix_config"
        printf '%s\n' '# Made by install.sh of Postern: there is no Postfix here.' >"$postfix_config/main.cf"
        note made "/etc/postfix/main.cf"
    fi
    value="$(registered) $CONFIG_DIRECTORY"
    "$STAGE/bin/postconf" -c "$postfix_config" -e "alternate_config_directories = ${value# }"
    note registered "$CONFIG_DIRECTORY"
    say "alternate_config_directories in /etc/postfix/main.cf has $CONFIG_DIRECTORY now"
}
unregister() {
    [ -e "$postfix_config/main.cf" ] || return 0
    value=$(registered | tr ', ' '\n\n' | grep -vxF "$1" | tr '\n' ' ')
    if [ -n "${value% }" ]; then
        "$postconf" -c "$postfix_config" -e "alternate_config_directories = ${value% }"
    else
        "$postconf" -c "$postfix_config" -X alternate_config_directories
    fi
}

install_all() {
    for name in $(programs daemon); do
        [ -x "$STAGE/libexec/$name" ] || fail "no $STAGE/libexec/$name: run make first, which needs no rights"
    done
    for name in $(programs command); do
        [ -x "$STAGE/bin/$name" ] || fail "no $STAGE/bin/$name: run make first, which needs no rights"
    done
    for name in $PROGRAMS; do
        [ "$name" = all ] || { all_programs daemon; all_programs command; all_faces daemon; } | grep -q "^$name\\b" ||
            fail "no program $name here"
    done
    uid='' gid=''
    if [ $is_root = yes ]; then
        uid=$(lookup passwd "$MAIL_OWNER")
        gid=$(lookup group "$SETGID_GROUP")
        if [ "$REPLACE_POSTFIX" != yes ] && { [ -z "$gid" ] || [ -z "$uid" ]; }; then
            [ -n "$DESTDIR" ] || fail "no user $MAIL_OWNER or no group $SETGID_GROUP: make them by
    groupadd --system $SETGID_GROUP
    useradd --system --user-group --no-create-home --home-dir $QUEUE_DIRECTORY --shell /usr/sbin/nologin $MAIL_OWNER
or name others: make install MAIL_OWNER=... SETGID_GROUP=..."
            say "no user $MAIL_OWNER or no group $SETGID_GROUP in $DESTDIR/etc: make them there, then run postfix set-permissions"
        fi
    fi
    if [ "$REPLACE_POSTFIX" = yes ]; then
        for file in "$DAEMON_DIRECTORY/master" "$COMMAND_DIRECTORY/postfix"; do
            [ -e "$DESTDIR$file" ] || fail "no $file to replace: name DAEMON_DIRECTORY and COMMAND_DIRECTORY"
        done
    else
        for file in "$DAEMON_DIRECTORY/master" "$COMMAND_DIRECTORY/postfix"; do
            [ ! -e "$DESTDIR$file" ] || is_ours "$file" || [ -e "$DESTDIR$DAEMON_DIRECTORY/.postern" ] ||
                fail "$file is there and not Postern's; to replace an installed Postfix say REPLACE_POSTFIX=yes"
        done
    fi
    mkdir -p "$DESTDIR${list%/*}"
    [ -e "$DESTDIR$list" ] || : >"$DESTDIR$list"
    size=0 count=0
    folder "$DAEMON_DIRECTORY"
    folder "$COMMAND_DIRECTORY"
    for name in $(programs daemon); do program "$STAGE/libexec/$name" "$name" "$DAEMON_DIRECTORY/$name"; done
    # A daemon's other names are files of their own where Postfix's are, and the same file.
    while read -r name target; do
        # There may be none.
        [ -n "$name" ] || continue
        program "$STAGE/libexec/$target" "$name" "$DAEMON_DIRECTORY/$name"
        [ "$REPLACE_POSTFIX" = yes ] || ln -f "$DESTDIR$DAEMON_DIRECTORY/$target" "$DESTDIR$DAEMON_DIRECTORY/$name"
    done <<FACES
$(faces daemon)
FACES
    for name in $(programs command); do program "$STAGE/bin/$name" "$name" "$COMMAND_DIRECTORY/$name"; done
    for page in man/*.[158]; do
        [ -f "$page" ] || continue
        folder "$MAN_DIRECTORY/man${page##*.}"
        install -m 644 "$page" "$DESTDIR$MAN_DIRECTORY/man${page##*.}"
        note file "$MAN_DIRECTORY/man${page##*.}/${page#man/}"
    done
    if [ "$REPLACE_POSTFIX" = yes ]; then
        # Postfix's mailq and newaliases are links to sendmail; its configuration stays.
        say "$count programs, $((size / 1000000)) MB, in Postfix's place"
        say "running processes are the old ones until: postfix stop; postfix start"
        return
    fi
    faces command | while read -r name target; do
        ln -sf "$target" "$DESTDIR$COMMAND_DIRECTORY/$name"
        note file "$COMMAND_DIRECTORY/$name"
    done
    if [ "$LINK_POSTFIX_DAEMONS" = yes ] && [ -d "$DESTDIR$postfix_daemons" ]; then
        for file in "$DESTDIR$postfix_daemons"/*; do
            name=${file##*/}
            case $name in *.* | post-install | postfix-* | postmulti-*) continue ;; esac
            [ ! -e "$DESTDIR$DAEMON_DIRECTORY/$name" ] && [ ! -L "$DESTDIR$DAEMON_DIRECTORY/$name" ] || continue
            ln -sf "$postfix_daemons/$name" "$DESTDIR$DAEMON_DIRECTORY/$name"
            note file "$DAEMON_DIRECTORY/$name"
        done
    fi
    folder "$CONFIG_DIRECTORY"
    for file in etc/*; do [ ! -f "$file" ] || configuration "${file#etc/}"; done
    folder "$UNIT_DIRECTORY"
    unit "$UNIT_DIRECTORY/postern.service"
    # What is in the queue directory, `postfix start` makes. Neither is noted: there will be mail.
    mkdir -p "$DESTDIR$QUEUE_DIRECTORY" "$DESTDIR$DATA_DIRECTORY"
    if [ $is_root = yes ] && [ -n "$uid" ]; then
        chown "$uid" "$DESTDIR$DATA_DIRECTORY"
        chmod 700 "$DESTDIR$DATA_DIRECTORY"
    fi
    if [ $is_root = yes ] && [ "$REGISTER" = yes ]; then register; fi
    rm -f "$DESTDIR$DAEMON_DIRECTORY/.postern"
    say "$count programs, $((size / 1000000)) MB, in $DAEMON_DIRECTORY and $COMMAND_DIRECTORY"
    say "to start: $COMMAND_DIRECTORY/postfix -c $CONFIG_DIRECTORY start"
}

uninstall_all() {
    [ -e "$DESTDIR$list" ] || fail "nothing is installed here: no $list"
    postconf=$STAGE/bin/postconf
    [ -x "$postconf" ] || postconf=$DESTDIR$COMMAND_DIRECTORY/postconf
    if [ "$REPLACE_POSTFIX" != yes ] && [ -z "$DESTDIR" ] &&
        "$COMMAND_DIRECTORY/postfix" -c "$CONFIG_DIRECTORY" status >/dev/null 2>&1; then
        fail "it is running: $COMMAND_DIRECTORY/postfix -c $CONFIG_DIRECTORY stop"
    fi
    while read -r kind path; do
        [ "$kind" != registered ] || unregister "$path"
    done <"$DESTDIR$list"
    while read -r kind path; do
        case $kind in
            replaced) give_back "$path" ;;
            file) rm -f "$DESTDIR$path" ;;
            made)
                # Only what was written here, and nothing of anybody else's.
                if ! grep -qv '^#' "$DESTDIR$path"; then
                    rm -f "$DESTDIR$path"
                    rmdir "$DESTDIR${path%/*}" 2>/dev/null || :
                fi
                ;;
            config)
                sum=${path%% *} path=${path#* }
                if [ ! -e "$DESTDIR$path" ]; then
                    :
                elif [ "$(checksum "$path")" = "$sum" ]; then
                    rm "$DESTDIR$path"
                else
                    say "$path was changed, and stays"
                fi
                ;;
        esac
    done <"$DESTDIR$list"
    # Now that the names are the package's again.
    while read -r kind path; do
        [ "$kind" != diverted ] || divert --remove "$path"
    done <"$DESTDIR$list"
    awk '$1 == "folder" { print $2 }' "$DESTDIR$list" | sort -r | while read -r path; do
        rmdir "$DESTDIR$path" 2>/dev/null || :
    done
    rm "$DESTDIR$list"
    rmdir "$DESTDIR${list%/*}" 2>/dev/null || :
    if [ "$REPLACE_POSTFIX" != yes ] && [ -d "$DESTDIR$QUEUE_DIRECTORY" ]; then
        say "$QUEUE_DIRECTORY and $DATA_DIRECTORY stay: there may be mail in them"
    fi
}

case ${1:-} in
    install) install_all ;;
    uninstall) uninstall_all ;;
    *) fail "usage: install.sh install | uninstall" ;;
esac
