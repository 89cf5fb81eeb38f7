# SPDX-License-Identifier: MIT
# Completion of uffd-probe(1) for fish.

function __uffd_probe_names
    uffd-probe --list 2>/dev/null | string replace -rf '.*"name":"([^"]*)".*' '$1'
end

complete -c uffd-probe -f
complete -c uffd-probe -l exercise -d 'Use everything for real'
complete -c uffd-probe -l require -x -a '(__fish_complete_list , __uffd_probe_names)' -d 'Succeed only when all of these are usable'
complete -c uffd-probe -l list -d 'List the names that --require takes'
complete -c uffd-probe -s p -l pid -x -a '(__fish_complete_pids)' -d 'The process'
complete -c uffd-probe -l pidfd -x -d 'The process, by an inherited pidfd'
complete -c uffd-probe -l format -x -a 'json table' -d 'Form of the output'
complete -c uffd-probe -l columns -x -d 'Columns of the tables' \
    -a 'route usable kernel_faults feature bit offered memory mode ioctls needs neighbour exercise result seen time_us reason hint errno raw fd features pending total start end bytes modes perm name obstacle tools tool obstacles'
complete -c uffd-probe -s q -l quiet -d 'No progress'
complete -c uffd-probe -s v -l verbose -d 'Say more on standard error'
complete -c uffd-probe -l version -d 'Print the version'
complete -c uffd-probe -s '?' -l help -d 'Show help'
complete -c uffd-probe -l usage -d 'Show the options in short'
