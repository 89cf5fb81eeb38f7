# SPDX-License-Identifier: MIT
# Completion of uffd-move(1) for fish.

complete -c uffd-move -f
complete -c uffd-move -s p -l pid -x -a '(__fish_complete_pids)' -d 'The process'
complete -c uffd-move -l pidfd -x -d 'The process, by an inherited pidfd'
complete -c uffd-move -l src -x -d 'Move the pages from here on'
complete -c uffd-move -l dst -x -a auto -d 'Where they go'
complete -c uffd-move -l length -x -a '4K 2M 64M 1G' -d 'How many bytes'
complete -c uffd-move -s r -l regions -r -k -a '(__fish_complete_suffix .jsonl .json; printf "%s\t%s\n" - "standard input")' \
    -d 'The regions of the records in a file'
complete -c uffd-move -l reverse -d 'Take back what the records say was moved'
complete -c uffd-move -l allow-src-holes -d 'Pages that are not there are no error'
complete -c uffd-move -l make-exclusive -d 'Also pages that a fork has left marked as shared'
complete -c uffd-move -l dontwake -d 'Do not wake threads that wait for a page'
complete -c uffd-move -l method -x -a 'move mremap' -d 'How to move'
complete -c uffd-move -l watch -a '1 10 60' -d 'Tell who touches the pages, for so many seconds'
complete -c uffd-move -l again -x -a '100 1000 10000' -d 'With --watch, move them aside again every so many milliseconds'
complete -c uffd-move -s n -l dry-run -d 'Say what would be moved, change nothing'
complete -c uffd-move -s y -l yes -d 'Move even if the program then reads zeros'
complete -c uffd-move -l format -x -a 'json table' -d 'Form of the output'
complete -c uffd-move -l columns -x -d 'Columns of the table' \
    -a 'src dst start end bytes moved_bytes would_move_bytes hole_bytes failed_bytes calls time_us longest_stop_us method dst_mapped by name tid touches touched_bytes pid starttime'
complete -c uffd-move -s q -l quiet -d 'No progress'
complete -c uffd-move -s v -l verbose -d 'Say more on standard error'
complete -c uffd-move -l version -d 'Print the version'
complete -c uffd-move -s '?' -l help -d 'Show help'
complete -c uffd-move -l usage -d 'Show the options in short'
