#!/bin/sh
# Tells what it sees, and does what `do=` says.
# Before anything is opened here: descriptors that are nobody's business.
left=
for number in 3 4 5 6 7 8; do
    [ -e "/proc/$$/fd/$number" ] && left="$left $number"
done
exec 9>>SAW
status=0
for word do
    printf 'argument %s\n' "$word"
done | cat -v >&9
for word do
    case $word in
    do=all)
        {
            env | grep -v -e '^_=' -e ^LD_LIBRARY_PATH= -e ^MAIL_CONFIG= -e ^OLDPWD= -e ^SHLVL= | sort | sed 's/^/environment /'
            echo "ids $(id)"
            echo "directory $(pwd)"
            echo "umask $(umask)"
            echo "descriptors$left"
            grep -e SigIgn /proc/$$/status
            echo "session $(($(ps -o sid= -p $$) - $$)) $(($(ps -o pgid= -p $$) - $$))"
            echo "file size $(ulimit -f)"
        } >&9 ;;
    do=sleep:*) sleep "${word#do=sleep:}" ;;
    do=die:*) kill "-${word#do=die:}" $$ ;;
    do=group:*) kill "-${word#do=group:}" 0 ;;
    do=out:*) printf "${word#do=out:}" ;;
    do=err:*) printf "${word#do=err:}" >&2 ;;
    do=many:*) head -c "${word#do=many:}" /dev/zero | tr '\0' x ;;
    do=status:*) status=${word#do=status:} ;;
    do=close) exec >&- 2>&- ;;
    do=closein) exec <&- ;;
    do=blind) exit 0 ;;
    do=read) sed 's/\r/^M/g' | cat -v | sed 's/^/content /;$s/$/$/' >&9 ;;
    do=bytes) od -An -c -v | sed 's/^/bytes/' >&9 ;;
    do=count) echo "count $(wc -c)" >&9 ;;
    do=stay) sleep 5 & ;;
    esac
done
exit "$status"
