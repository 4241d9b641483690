# Completion of bld for fish: bld completions fish | source, or put this into ~/.config/fish/completions/bld.fish
function __bld_candidates
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    # What is typed of the last word, without quotes and backslashes.
    set -l last (commandline --current-token --cut-at-cursor | string replace --all --regex '\\\\(.)|["\']' '$1')
    BLD_COMPLETE=fish bld -- $words "$last" 2>/dev/null
end
complete --command bld --no-files --arguments '(__bld_candidates)'
