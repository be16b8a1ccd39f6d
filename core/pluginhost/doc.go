// Package pluginhost runs channel plugins: separate executables that speak the contract channel.v1
// through hashicorp/go-plugin. It finds them in a folder, starts each in a process of its own, gives
// them their connectors, carries batches to them and keeps them alive.
//
// A plugin may have several generations: running processes of one version each. A route per plugin
// says how messages are shared out among them; it is one atomic pointer, so that a change of
// generation is one store. Today every route has one entry, the highest version that is installed.
//
// go-plugin gives the launch, the handshake and the connection. Everything after that is this
// package's own: supervision, restart, drain, kill with a deadline, standard error, orphans.
//
// Goroutines. Host.Start begins one per generation (generation.run), which owns all others of that
// generation: the keeper of the process (one locked thread, runner.keep), the readers of its two
// pipes, and, while the process lives, one that follows its health, one that receives its events
// and one that configures its connectors. Host.Stop ends and awaits them all.
//
// What is promised: a faulty plugin is an entry in Plugins and nothing else. It never fails
// Host.Start, never blocks another plugin, never outlives the gateway, and whatever it does, each
// delivery gets exactly one result.
package pluginhost
