package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// bashCompletion writes cobra's script for bash. The script calls two functions of the
// package bash-completion; it gets its own, for systems without the package.
func bashCompletion(a *app, root *cobra.Command) error {
	var script bytes.Buffer
	if err := root.GenBashCompletionV2(&script, true); err != nil {
		return err
	}
	text := script.String()
	for _, function := range []struct{ theirs, own string }{
		{`_get_comp_words_by_ref "$@" cur prev words cword`, "__imasign-build_words"},
		{"_filedir ", "__imasign-build_filedir "},
		{"_filedir\n", "__imasign-build_filedir\n"},
	} {
		if !strings.Contains(text, function.theirs) {
			return fmt.Errorf("the script for bash does not call %s any more", strings.TrimSpace(function.theirs))
		}
		text = strings.ReplaceAll(text, function.theirs, function.own)
	}
	return a.printFile([]byte(bashFunctions + text))
}

// bashFunctions stand in for those of bash-completion. Bash splits words at ":" and "=",
// which the first one undoes. The second one completes names of directories (-d), of files
// with one of several endings (a|b|), or of all files.
const bashFunctions = `__imasign-build_words()
{
    local i=0 line=$COMP_LINE word glued
    words=() cword=0
    while (( i < ${#COMP_WORDS[@]} )); do
        word=${COMP_WORDS[i]}
        glued=1
        [[ $line == [[:space:]]* ]] && glued=
        line=${line#"${line%%[![:space:]]*}"}
        line=${line#"$word"}
        if [[ $glued && ${#words[@]} -gt 0 && ( $word == [:=]* || ${words[${#words[@]}-1]} == *[:=] ) ]]; then
            words[${#words[@]}-1]+=$word
        else
            words+=("$word")
        fi
        (( i == COMP_CWORD )) && cword=$(( ${#words[@]} - 1 ))
        (( ++i ))
    done
    cur=${words[cword]}
    # The cursor may stand inside of the word.
    if (( COMP_POINT < ${#COMP_LINE} )); then
        local rest=${COMP_LINE:COMP_POINT}
        rest=${rest%%[[:space:]]*}
        [[ $rest && $cur == *"$rest" ]] && cur=${cur%"$rest"} && words[cword]=$cur
    fi
    prev=
    (( cword > 0 )) && prev=${words[cword-1]}
}

__imasign-build_filedir()
{
    compopt -o filenames 2>/dev/null
    local name found=
    mapfile -t COMPREPLY < <(compgen -d -- "$cur")
    [[ $1 == -d ]] && return
    while read -r name; do
        [[ -d $name ]] && continue
        if [[ -z $1 || "|$1" == *"|${name##*.}|"* ]]; then
            COMPREPLY+=("$name") found=1
        fi
    done < <(compgen -f -- "$cur")
    # Names without any of the endings are better than none.
    if [[ ! $found && ${#COMPREPLY[@]} == 0 ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}

`
