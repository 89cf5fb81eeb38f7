# SPDX-License-Identifier: MIT
# Completion of addrspace(1) for fish.

set -l verbs list query info map unmap protect alloc free clone drop diff cache
set -l any "__fish_seen_subcommand_from $verbs"
set -l none "not __fish_seen_subcommand_from $verbs"
set -l regions '__fish_seen_subcommand_from list unmap protect free'
set -l change '__fish_seen_subcommand_from map unmap protect alloc free'
set -l place '__fish_seen_subcommand_from map alloc'
set -l map '__fish_seen_subcommand_from map'
set -l of_one '__fish_seen_subcommand_from list query info map unmap protect alloc free clone drop cache'

complete -c addrspace -f
complete -c addrspace -n "$none" -a list -d 'Its mappings, and what is in core of each'
complete -c addrspace -n "$none" -a query -d 'Which object is mapped at an address or over a region'
complete -c addrspace -n "$none" -a info -d 'Page size, limits, overcommit and totals'
complete -c addrspace -n "$none" -a map -d 'Anonymous memory, a file or a memfd into it'
complete -c addrspace -n "$none" -a unmap -d 'What is mapped in regions'
complete -c addrspace -n "$none" -a protect -d 'Other rights, or copy on write, for what is mapped'
complete -c addrspace -n "$none" -a alloc -d 'Memory in it'
complete -c addrspace -n "$none" -a free -d 'Memory that was allocated, or a part of it'
complete -c addrspace -n "$none" -a cache -d 'A lazily filled object in it'

complete -c addrspace -n "$none" -a clone -d 'A stopped copy-on-write copy, to look at while it runs on'
complete -c addrspace -n "$none" -a drop -d 'End a clone that clone --hold made'
complete -c addrspace -n "$none" -a diff -d 'What differs between the memory of two processes'

complete -c addrspace -n "$of_one" -s p -l pid -x -a '(__fish_complete_pids)' -d 'The process'
complete -c addrspace -n "$of_one" -l pidfd -x -d 'The process, by an inherited pidfd'
complete -c addrspace -n "$regions" -s r -l regions -r -k -a '(__fish_complete_suffix .jsonl .json; printf "%s\t%s\n" - "standard input")' \
    -d 'The regions of the records in a file'
complete -c addrspace -n '__fish_seen_subcommand_from list' -l vm-flags -d 'With the VmFlags'
complete -c addrspace -n '__fish_seen_subcommand_from list' -l no-pages -d 'Without looking at what is in core'
complete -c addrspace -n "$change" -s n -l dry-run -d 'Say what would be done, change nothing'
complete -c addrspace -n '__fish_seen_subcommand_from map unmap protect free' -l force -d 'Also what is relied on'
complete -c addrspace -n "$place" -l at -x -d 'There, or elsewhere if it is occupied'
complete -c addrspace -n "$place" -l fixed -d 'There, or not at all'
complete -c addrspace -n "$place" -l lock -d 'With all pages there and locked, or not at all'
complete -c addrspace -n "$map" -l size -x -a '4K 64K 2M 64M 1G' -d 'How much'
complete -c addrspace -n "$map" -l file -r -F -d 'Map a file'
complete -c addrspace -n "$map" -l offset -x -d 'From there on in the file'
complete -c addrspace -n "$map" -l memfd -x -d 'Map a new memfd with that name'
complete -c addrspace -n "$map" -l replace -d 'With --fixed, in place of what is there'
complete -c addrspace -n "$map" -l private -d 'Copy on write'
complete -c addrspace -n "$map" -l shared -d 'Write to the object itself'
complete -c addrspace -n "$map" -l populate -d 'With all pages there, or not at all'
complete -c addrspace -n '__fish_seen_subcommand_from map protect' -l access -x -a 'r rw rx rwx ---' -d Rights
complete -c addrspace -n '__fish_seen_subcommand_from protect' -l cow -d 'Make shared mappings copy on write'
complete -c addrspace -n '__fish_seen_subcommand_from alloc' -l align -x -a '64K 2M 1G' -d 'At a multiple of that'
complete -c addrspace -n '__fish_seen_subcommand_from alloc' -l zero -d 'Zeros, which it always is'
complete -c addrspace -n '__fish_seen_subcommand_from alloc' -l commit -d 'With all its memory, or not at all'

set -l cache '__fish_seen_subcommand_from cache'
complete -c addrspace -n "$cache" -l from -r -F -a 'pipe: exec:' -d 'What is mapped'
complete -c addrspace -n "$cache" -l size -x -d 'How much of it'
complete -c addrspace -n "$cache" -l at -x -d 'Where'
complete -c addrspace -n "$cache" -l block -x -d 'How much is filled at a time'
complete -c addrspace -n "$cache" -l writable -d 'Private pages that can be written'
complete -c addrspace -n "$cache" -l delay -x -d 'Wait before each fill, in milliseconds'
complete -c addrspace -n "$cache" -l fail -x -d 'SIGBUS for this part of it'
complete -c addrspace -n "$cache" -l timeout -x -d 'For a command that prints nothing, in seconds'
complete -c addrspace -n "$cache" -l keep -x -d 'How much of what is read in order is kept'
complete -c addrspace -n "$cache" -l at-end -x -a 'fill poison unmap' -d 'What becomes of what is missing then'
complete -c addrspace -n "$cache" -l output -r -F -d 'Where the records go'
complete -c addrspace -n "$cache" -l columns -x -d 'Columns of the table' \
    -a 'pid starttime start end bytes source source_kind source_bytes block_bytes writable worker_pid puppet_pid'
complete -c addrspace -n '__fish_seen_subcommand_from clone' -l core -r -F -d 'Write a core file for a debugger'
complete -c addrspace -n '__fish_seen_subcommand_from clone' -l all -d 'With --core, what the process keeps out of its cores too'
complete -c addrspace -n '__fish_seen_subcommand_from clone' -l hold -d 'Leave the clone behind, until addrspace drop'
complete -c addrspace -n '__fish_seen_subcommand_from clone' -s n -l dry-run -d 'Say what would be cloned, touch nothing'
complete -c addrspace -n '__fish_seen_subcommand_from diff' -x -a '(__fish_complete_pids)'

complete -c addrspace -n "$any" -l format -x -a 'json table' -d 'Form of the output'
complete -c addrspace -n '__fish_seen_subcommand_from list' -l columns -x -d 'Columns of the table' \
    -a 'pid starttime start end bytes resident_bytes swapped_bytes perm object name inode offset access flags vm_flags vma_start vma_end'
complete -c addrspace -n "$change" -l columns -x -d 'Columns of the table' \
    -a 'pid starttime start end bytes perm object name inode offset access was_access flags op done vma_start vma_end'
complete -c addrspace -n '__fish_seen_subcommand_from query' -l columns -x -d 'Columns of the table' \
    -a 'pid starttime start end bytes perm object name inode offset access flags all_same mapped_bytes mappings vma_start vma_end'
complete -c addrspace -n '__fish_seen_subcommand_from info' -l columns -x -d 'Columns of the table' \
    -a 'pid starttime page_bytes min_align_bytes huge_page_bytes min_address max_mappings overcommit commit_limit_bytes committed_bytes address_space_limit_bytes data_limit_bytes stack_limit_bytes locked_limit_bytes virtual_bytes peak_virtual_bytes resident_bytes peak_resident_bytes resident_anon_bytes resident_file_bytes resident_shmem_bytes swapped_bytes data_bytes locked_bytes pinned_bytes page_table_bytes stack_start stack_end stack_bytes heap_start brk heap_bytes mappings'
complete -c addrspace -n '__fish_seen_subcommand_from clone' -l columns -x -d 'Columns of the table' \
    -a 'pid starttime original_pid original_starttime bytes resident_bytes left_out_bytes threads threads_missed pause_us time_us held core core_bytes memory_bytes unreadable_bytes dry_run'
complete -c addrspace -n '__fish_seen_subcommand_from drop' -l columns -x -d 'Columns of the table' -a 'pid starttime original_pid original_starttime'
complete -c addrspace -n '__fish_seen_subcommand_from diff' -l columns -x -d 'Columns of the table' \
    -a 'pid starttime start end bytes change other_pid other_starttime'
complete -c addrspace -n "$any" -s q -l quiet -d 'No progress'
complete -c addrspace -n "$any" -s v -l verbose -d 'Say more on standard error'
complete -c addrspace -l version -d 'Print the version'
complete -c addrspace -s '?' -l help -d 'Show help'
complete -c addrspace -l usage -d 'Show the options in short'
