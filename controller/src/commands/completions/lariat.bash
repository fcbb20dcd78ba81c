# Completions of lariat for bash. lariat itself says what can be typed; it reads only files of this machine.

_lariat() {
    local line kind=
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :*) kind=$line ;;
            *) COMPREPLY+=("${line%%$'\t'*}") ;;
        esac
    done < <("${1/#\~/$HOME}" complete --line "${COMP_LINE:0:COMP_POINT}" --end="$2" 2>/dev/null)
    case $kind in
        :files) compopt -o default ;;
        :directories) compopt -o dirnames ;;
    esac
    case ${COMPREPLY[0]-} in
        *:) compopt -o nospace ;;
    esac
}

complete -F _lariat lariat
