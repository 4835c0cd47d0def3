// Package docs runs the commands that README.md and the pages in docs/ show, in their
// order, one page after the other. A page starts in a new directory that contains what
// docs/examples.md makes. The language of a fence says what a block is:
//
//	sh        commands; the first one that fails ends the page
//	console   a session: commands behind "$ ", each followed by its output
//	bitbake   lines of a configuration or recipe
//	json      JSON Lines
//	text      anything else, but no command
//
// Expected output may contain "…" for any text, and a line "…" for any lines. A command of
// a session that does not exit with 0 is followed by "$ echo $?". A block that cannot run
// here has a comment above its fence, which no rendered page shows, with the reason:
//
//	<!-- not run: needs BitBake -->
//
// docs/cli.md is generated and shows no commands to run.
package docs
