#compdef bld
# Completion of bld for zsh: eval "$(bld completions zsh)" after compinit, or put this as _bld into a folder of $fpath.
_bld() {
    local line value help
    local -a whole whole_shown open open_shown
    for line in "${(@f)$(BLD_COMPLETE=zsh bld -- "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}"; do
        value=${line%%$'\t'*} help=${line#*$'\t'}
        [[ -n $value ]] || continue
        [[ -n $help ]] && help="$value  -- $help" || help=$value
        if [[ $value == *[:/=,{] ]]; then
            open+=("$value") open_shown+=("$help")
        else
            whole+=("$value") whole_shown+=("$help")
        fi
    done
    compadd -l -d open_shown -S '' -a open
    compadd -l -d whole_shown -a whole
}
if [[ $funcstack[1] == _bld ]]; then _bld "$@"; else compdef _bld bld; fi
