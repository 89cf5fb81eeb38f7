# SPDX-License-Identifier: MIT
# Completion of reclaimctl(1) for fish.

set -l verbs status list query flush resize watch run
set -l process '__fish_seen_subcommand_from status list query flush resize watch'
set -l any "__fish_seen_subcommand_from $verbs"
set -l none "not __fish_seen_subcommand_from $verbs"
set -l watch '__fish_seen_subcommand_from watch'
set -l flush '__fish_seen_subcommand_from flush'

complete -c reclaimctl -f
complete -c reclaimctl -n "$none" -a status -d 'What waits in the ring of a process, or of all'
complete -c reclaimctl -n "$none" -a list -d 'The regions that wait in a ring'
complete -c reclaimctl -n "$none" -a query -d 'What became of one entry'
complete -c reclaimctl -n "$none" -a flush -d 'Reclaim what waits, oldest first'
complete -c reclaimctl -n "$none" -a resize -d 'Ask a program for a ring of another capacity'
complete -c reclaimctl -n "$none" -a watch -d 'Reclaim what programs do not need, for as long as it runs'
complete -c reclaimctl -n "$none" -a run -d 'Run a command that keeps what it frees in a ring'

complete -c reclaimctl -n "$process" -s p -l pid -x -a '(__fish_complete_pids)' -d 'The process'
complete -c reclaimctl -n "$process" -l pidfd -x -d 'The process, by an inherited pidfd'
complete -c reclaimctl -n "$flush" -s n -l entries -x -d 'At least so many entries'
complete -c reclaimctl -n "$flush" -l bytes -x -a '1M 64M 256M 1G' -d 'Entries of at least so many bytes'
complete -c reclaimctl -n "$flush" -l all -d 'All that wait at the moment'
complete -c reclaimctl -n "$flush" -l road -x -a 'auto inject agent' -d 'How to reach into the process'
complete -c reclaimctl -n '__fish_seen_subcommand_from resize' -l timeout -x -d 'Milliseconds to wait for the program'
complete -c reclaimctl -n "$watch" -l all -d 'All processes that have a ring, as they come and go'
complete -c reclaimctl -n "$watch" -l interval -x -a '1s 10s' -d 'Between looks'
complete -c reclaimctl -n "$watch" -l period -x -a '1s 10s 60s' -d 'Of sampling'
complete -c reclaimctl -n "$watch" -l grace -x -a '10s 30s 60s' -d 'Stopped for so long before it is drained'
complete -c reclaimctl -n "$watch" -l margin -x -a '32M 256M 1G' -d 'Keep free below the limit of a cgroup'
complete -c reclaimctl -n "$watch" -l warning -x -a 'some:150ms/2s full:150ms/2s none' -d 'Pressure at which half of a ring goes'
complete -c reclaimctl -n "$watch" -l critical -x -a 'some:150ms/2s full:150ms/2s none' -d 'Pressure at which all of it goes'
complete -c reclaimctl -n "$watch" -s n -l dry-run -d 'Say what would be reclaimed, change nothing'
complete -c reclaimctl -n '__fish_seen_subcommand_from run' -l min -x -a '64K 256K 1M' -d 'Size from which blocks are kept'
complete -c reclaimctl -n '__fish_seen_subcommand_from run' -a '(__fish_complete_subcommand)'

complete -c reclaimctl -n "$any" -l format -x -a 'json table' -d 'Form of the output'
complete -c reclaimctl -n '__fish_seen_subcommand_from status resize run' -l columns -x -d 'Columns of the table' \
    -a 'pid starttime name address capacity max_capacity wanted_capacity head busy tail entries bytes reclaimed_entries reclaimed_bytes failed_entries trimmed_bytes level samples sample_age_ms period_ms minimum_bytes weighted_minimum_bytes descriptor_open'
complete -c reclaimctl -n '__fish_seen_subcommand_from list query flush' -l columns -x -d 'Columns of the table' \
    -a 'pid starttime start end bytes id action entered_bytes state resident_bytes'
complete -c reclaimctl -n "$watch" -l columns -x -d 'Columns of the table' \
    -a 'pid starttime why level wanted_bytes entries bytes refused_entries ring_bytes stopped_ms limit_bytes left_bytes longest_stop_us time_us dry_run'
complete -c reclaimctl -n "$any" -s q -l quiet -d 'No progress'
complete -c reclaimctl -n "$any" -s v -l verbose -d 'Say more'
complete -c reclaimctl -l version -d 'Print the version'
complete -c reclaimctl -s '?' -l help -d 'Show help'
complete -c reclaimctl -l usage -d 'Show the options in short'
