# Completion of bld for bash: eval "$(bld completions bash)", or put this into
# ~/.local/share/bash-completion/completions/bld
_bld() {
    local IFS=$'\n'
    # bld is given the line, since bash would cut labels in pieces at each colon.
    COMPREPLY=($(BLD_COMPLETE=bash bld -- "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null))
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[:/=,{] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -F _bld bld
