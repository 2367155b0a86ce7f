# bash completion of postern, postwhy, posttop, postern-health and postern-takeover.
_postern() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} words=
    case ${COMP_WORDS[0]##*/} in
        postern)
            if [ "$COMP_CWORD" = 1 ]; then
                words=$(cd /usr/lib/postern/bin 2>/dev/null && echo *)
            elif [ "${COMP_WORDS[1]}" = postfix ]; then
                case $previous in
                    stop) words='--drain' ;;
                    --drain | --flush) words='--flush --timeout=' ;;
                    check) words='--json' ;;
                    *) words='start start-fg stop reload abort flush check status set-permissions logrotate' ;;
                esac
            fi
            ;;
        postwhy)
            words='-c -s -o -m --config --service --option --name --reverse-name --helo --smtp --login --no-policy --no-probe --ask-milters --message --json --help'
            ;;
        postern-health)
            words='live ready deep -c --config --timeout --json --help'
            ;;
        posttop)
            words='-c --config -i --interval --once --json --help'
            ;;
        postern-takeover)
            words="--all --back --list $(cd /usr/lib/postern 2>/dev/null && awk '!/^#/ && NF && $2 != "example" { print $1 }' programs)"
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -o default -F _postern postern postwhy posttop postern-health postern-takeover
