# fish completion of postern, postwhy, posttop, postern-health and postern-takeover.
complete -c postern -n __fish_use_subcommand -f -a '(for file in /usr/lib/postern/bin/*; basename $file; end)'
complete -c postern -n '__fish_seen_subcommand_from postfix' -f -a 'start start-fg stop reload abort flush check status set-permissions logrotate'
complete -c postern -n '__fish_seen_subcommand_from stop' -f -a '--drain --flush --timeout='
complete -c postern -n '__fish_seen_subcommand_from check' -f -a --json

complete -c postwhy -s c -l config -r -d 'Folder of main.cf and master.cf'
complete -c postwhy -s s -l service -x -d 'Service of master.cf'
complete -c postwhy -s o -l option -x -d 'Setting'
complete -c postwhy -l name -x -d 'Verified name of the client'
complete -c postwhy -l reverse-name -x -d 'Unverified name'
complete -c postwhy -l helo -x -d 'Argument of EHLO'
complete -c postwhy -l smtp -d 'The client says HELO'
complete -c postwhy -l login -x -d 'SASL login name'
complete -c postwhy -l no-policy -d 'Ask no policy servers'
complete -c postwhy -l no-probe -d 'Verify no addresses'
complete -c postwhy -l ask-milters -d 'Ask the Milters'
complete -c postwhy -s m -l message -r -d 'Message to walk through'
complete -c postwhy -s j -l json -d 'Print JSON'

complete -c postern-health -f -a 'live ready deep'
complete -c postern-health -s c -l config -r -d 'Folder of main.cf and master.cf'
complete -c postern-health -l timeout -x -d 'How long each answer is waited for'
complete -c postern-health -s j -l json -d 'Print JSON'

complete -c posttop -f
complete -c posttop -s c -l config -r -d 'Folder of main.cf'
complete -c posttop -s i -l interval -x -d 'Seconds between two looks'
complete -c posttop -l once -d 'Print all lists once'
complete -c posttop -s j -l json -d 'Print JSON'

complete -c postern-takeover -f -a '--all --back --list'
complete -c postern-takeover -f -a "(awk '!/^#/ && NF && \$2 != \"example\" { print \$1 }' /usr/lib/postern/programs)"
