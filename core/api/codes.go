package api

// Codes of the answers about rollouts, beside those of core.
const (
	CodeVersionNotFound = 2012 // the plugin has no such version installed
	CodeRolloutNotFound = 2013
	CodeNotRollable     = 2014 // the version cannot be rolled out now
	CodeRolloutState    = 2015 // the rollout's state does not allow it
	CodeVersionInUse    = 2016
)
