# SPDX-License-Identifier: MIT
# Completion of swapctl(1) for fish.

set -l verbs attach out in status auto adopt check detach run
set -l process '__fish_seen_subcommand_from attach out in status adopt check detach'
set -l any "__fish_seen_subcommand_from $verbs"
set -l none "not __fish_seen_subcommand_from $verbs"
set -l session '__fish_seen_subcommand_from attach out auto run'
set -l auto '__fish_seen_subcommand_from auto'
set -l regions '__fish_seen_subcommand_from out in'

complete -c swapctl -f
complete -c swapctl -n "$none" -a attach -d 'Make a session for a process'
complete -c swapctl -n "$none" -a out -d 'Swap its memory out'
complete -c swapctl -n "$none" -a in -d 'Bring its memory back without waiting for faults'
complete -c swapctl -n "$none" -a status -d 'What is out, and what the session has done'
complete -c swapctl -n "$none" -a auto -d 'Put cold memory of processes out for as long as it runs'
complete -c swapctl -n "$none" -a adopt -d 'Take up a session whose processes were killed'
complete -c swapctl -n "$none" -a check -d 'Verify what is out, the store and the process'
complete -c swapctl -n "$none" -a detach -d 'Bring everything back and leave the process as it was'

complete -c swapctl -n "$none" -a run -d 'Run a command with a swap agent, and make a session for it'

complete -c swapctl -n "$process" -s p -l pid -x -a '(__fish_complete_pids)' -d 'The process'
complete -c swapctl -n "$process" -l pidfd -x -d 'The process, by an inherited pidfd'
complete -c swapctl -n "$auto" -s p -l pid -x -a '(__fish_complete_pids)' -d 'The processes'
complete -c swapctl -n "$regions" -s r -l regions -r -k -a '(__fish_complete_suffix .jsonl .json; printf "%s\t%s\n" - "standard input")' \
    -d 'Only the regions of the records in a file'
complete -c swapctl -n "$session" -l store -x -a '(__fish_complete_directories) memory' -d 'Where the store is'
complete -c swapctl -n "$session" -l limit -x -a '64M 256M 1G 4G' -d 'The most that the store may take'
complete -c swapctl -n "$session" -l compress -x -a 'lz4 zstd zstd:1 zstd:3 zstd:9 zstd:19 none' -d Codec
complete -c swapctl -n "$session" -l encrypt -d 'Encrypt the store'
complete -c swapctl -n "$session" -l no-encrypt -d 'Do not encrypt the store'
complete -c swapctl -n "$session" -l cluster -x -a '4K 16K 64K 256K' -d 'What comes back together'
complete -c swapctl -n "$session" -l road -x -a 'auto inject agent puppet' -d 'How to reach into the process'
complete -c swapctl -n '__fish_seen_subcommand_from run' -a '(__fish_complete_subcommand)'
complete -c swapctl -n '__fish_seen_subcommand_from attach adopt' -l foreground -d 'Stay until the session ends'
complete -c swapctl -n '__fish_seen_subcommand_from in' -l for -x -a '(__fish_complete_subcommand)' \
    -d 'Keep everything in core while a command runs'
complete -c swapctl -n '__fish_seen_subcommand_from out' -l bytes -x -a '64M 256M 1G 4G' -d 'Stop after so much has left'
complete -c swapctl -n '__fish_seen_subcommand_from out' -s n -l dry-run -d 'Say what would leave, change nothing'
complete -c swapctl -n "$auto" -l cgroup -x -a '(__fish_complete_directories)' -d 'The processes in a cgroup, and below it'
complete -c swapctl -n "$auto" -l pressure -x -a 'some:150ms/1s some:150ms/2s full:50ms/1s' -d 'Only when the kernel tells of pressure'
complete -c swapctl -n "$auto" -l target -x -a '64M 256M 1G 4G' -d 'Only above so much resident memory in all'
complete -c swapctl -n "$auto" -l hold -x -d 'Only while threads wait for memory for less, in percent'
complete -c swapctl -n "$auto" -l stage -x -d 'Seconds in memory before the store'
complete -c swapctl -n "$auto" -l refault-backoff -x -d 'What comes back within so many seconds is left alone'
complete -c swapctl -n "$auto" -l interval -x -d 'Seconds between rounds of one process'
complete -c swapctl -n "$auto" -l regions-per-round -x -d 'Most superpages that a round takes'
complete -c swapctl -n "$auto" -l min-saved -x -a '0 16M 64M' -d 'No session for a process of which less can leave'
complete -c swapctl -n "$auto" -l min-free -x -a '64M 128M 1G' -d 'Keep free on the file system of the store'
complete -c swapctl -n "$auto" -l total-limit -x -a '256M 1G 4G' -d 'The most that all stores may take'
complete -c swapctl -n "$auto" -l explain -d 'A record for each decision'
complete -c swapctl -n "$auto" -l leave -d 'Leave the sessions that were made'

complete -c swapctl -n "$any" -l format -x -a 'json table' -d 'Form of the output'
complete -c swapctl -n '__fish_seen_subcommand_from attach status adopt run' -l columns -x -d 'Columns of the table' \
    -a 'pid starttime state supervisor_pid worker_pid store encrypted key compress cluster_bytes limit_bytes store_bytes store_allocated_bytes store_file_bytes pool_bytes out_pages moving_pages staged_pages pool_pages stored_pages zero_pages filled_pages poisoned_pages spaces moved_pages_total faults refaulted_pages brought_pages fresh_faults hot_faults fault_wait_us written_back_pages fault_p50_us fault_p99_us fault_max_us events stops longest_stop_us road kept_in tracer_pid'
complete -c swapctl -n '__fish_seen_subcommand_from out in detach' -l columns -x -d 'Columns of the table' \
    -a 'pid starttime start end bytes asked_bytes moved_bytes stored_bytes compressed_bytes zero_pages filled_pages skipped_bytes skipped time_us'
complete -c swapctl -n "$auto" -l columns -x -d 'Columns of the table' \
    -a 'pid starttime resident_bytes regions moved_bytes refaulted_pages pool_bytes store_bytes written_back_bytes time_us'
complete -c swapctl -n '__fish_seen_subcommand_from check' -l columns -x -d 'Columns of the table' -a 'op errno reason hint start cluster'
complete -c swapctl -n "$any" -s q -l quiet -d 'No progress'
complete -c swapctl -n "$any" -s v -l verbose -d 'Say more on standard error'
complete -c swapctl -l version -d 'Print the version'
complete -c swapctl -s '?' -l help -d 'Show help'
complete -c swapctl -l usage -d 'Show the options in short'
