// Package author is what authors of plugins do with what they write, behind the commands of pigeonry: ask a program
// who it is, build a project, keep what is built running on a gateway while its source changes, and measure how fast
// a plugin is.
package author
