#compdef lariat
# Completions of lariat for zsh. lariat itself says what can be typed; it reads only files of this machine.

_lariat() {
    local line value kind= program=${~words[1]}
    local -a whole begun whole_shown begun_shown
    while IFS= read -r line; do
        value=${line%%$'\t'*}
        case $line in
            :*) kind=$line ;;
            *:$'\t'*) begun+=("$value"); begun_shown+=("$value  ${line#*$'\t'}") ;;
            *) whole+=("$value"); whole_shown+=("$value  ${line#*$'\t'}") ;;
        esac
    done < <($program complete -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)
    (( ${#whole} )) && compadd -l -d whole_shown -a whole
    (( ${#begun} )) && compadd -S '' -l -d begun_shown -a begun
    case $kind in
        :files) _files ;;
        :directories) _files -/ ;;
    esac
}

if [ "$funcstack[1]" = _lariat ]; then
    _lariat "$@"
else
    compdef _lariat lariat
fi
