# SPDX-License-Identifier: MIT
# Completion of superpages(1) for fish.

complete -c superpages -f
complete -c superpages -s p -l pid -x -a '(__fish_complete_pids)' -d 'The process'
complete -c superpages -l pidfd -x -d 'The process, by an inherited pidfd'
complete -c superpages -s r -l regions -r -F -d 'Only inside the regions of the records in a file'
complete -c superpages -l max -x -d 'List at most this many superpages'
complete -c superpages -l size -x -a '4K 64K 2M 1G' -d 'Bytes of a superpage'
complete -c superpages -l min-resident -x -a '4K 1M 50% 100%' -d 'Leave out what has less in core'
complete -c superpages -l kind -x -a 'anon file shmem all' -d 'Kind of mapping'
complete -c superpages -l name -x -d 'Only mappings whose name matches'
complete -c superpages -l range -x -d 'Only these addresses'
complete -c superpages -l merge -d 'Join neighbours of one mapping'
complete -c superpages -l swappable -d 'Only what swapctl would take'
complete -c superpages -l sort -x -a 'address resident' -d 'Order'
complete -c superpages -l method -x -a 'auto scan pagemap mincore' -d 'How to find what is in core'
complete -c superpages -l format -x -a 'json table' -d 'Form of the output'
complete -c superpages -l columns -x -d 'Columns of the table' \
    -a 'start end bytes resident_bytes swapped_bytes huge_bytes perm name vma_start vma_end pid starttime'
complete -c superpages -s q -l quiet -d 'No progress'
complete -c superpages -s v -l verbose -d 'Say more on standard error'
complete -c superpages -l version -d 'Print the version'
complete -c superpages -s '?' -l help -d 'Show help'
complete -c superpages -l usage -d 'Show the options in short'
