package main

import (
	"strconv"
	"strings"
)

// nearest returns the candidates that a mistyped word most likely stands for, in their
// order: those at the smallest edit distance, if that is small for the word's length, or
// else those that begin with the word or that the word begins with.
func nearest(word string, candidates []string) []string {
	const short, medium = 3, 8 // longest words that may have 1 and 2 mistakes
	allowed := 3
	switch n := len(word); {
	case n <= short:
		allowed = 1
	case n <= medium:
		allowed = 2
	case n > 64: // no name is that long
		return nil
	}
	var found, begun []string
	for _, candidate := range candidates {
		distance := editDistance(strings.ToLower(word), strings.ToLower(candidate))
		if distance < allowed {
			found, allowed = nil, distance
		}
		switch {
		case distance <= allowed && distance < len(candidate):
			found = append(found, candidate)
		case len(word) >= short && len(candidate) >= short && (strings.HasPrefix(candidate, word) || strings.HasPrefix(word, candidate)):
			begun = append(begun, candidate)
		}
	}
	if found == nil {
		return begun
	}
	return found
}

// editDistance counts the insertions, deletions, substitutions and swaps of neighbours
// that turn a into b.
func editDistance(a, b string) int {
	var before, last []int // rows of the table
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}

// didYouMean asks about up to three suggestions, after a separator. It returns "" if there
// are none.
func didYouMean(separator string, suggestions []string) string {
	const most = 3
	if len(suggestions) == 0 {
		return ""
	}
	return separator + enumerate(suggestions[:min(len(suggestions), most)], "or") + "?"
}

// quoted puts every word into quotation marks.
func quoted(list []string) []string {
	var all []string
	for _, word := range list {
		all = append(all, strconv.Quote(word))
	}
	return all
}
