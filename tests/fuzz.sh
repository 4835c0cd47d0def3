#!/bin/sh
# Runs every fuzz target in turn, each for the given time: fuzz.sh 5m
# Without -fuzzminimizetime, Go spends up to a minute on making each input with new coverage smaller, in which
# it finds nothing: a target with large seeds, such as a configuration, then seems to stall.
set -eu
for file in $(grep -rl --include='*_test.go' '^func Fuzz' cmd internal pkg); do
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
		echo "$(dirname "$file") $target"
		go test -run '^$' -fuzz "^$target\$" -fuzzminimizetime 10x -fuzztime "$1" "./$(dirname "$file")"
	done
done
