# Completions of lariat for fish. lariat itself says what can be typed; it reads only files of this machine.

function __lariat_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    for line in ($words[1] complete -- $words[2..-1] "$word" 2>/dev/null)
        switch $line
            case ':files'
                __fish_complete_path "$word"
            case ':directories'
                __fish_complete_directories "$word" ''
            case '*'
                echo $line
        end
    end
end

complete -c lariat -f -a '(__lariat_complete)'
