// Package pluginhost runs channel plugins: separate executables that speak the contract channel.v1
// through hashicorp/go-plugin. Its catalog finds them in a folder; the host starts each in a process of its
// own, gives them their connectors, carries batches to them and keeps them alive.
//
// A plugin may have several generations: running processes of one version each. Arrange says which versions
// run and what each gets, and may be told the same again and again. A route per plugin says how messages are
// shared out among them; it is one atomic pointer, so that a change of generation is one store. Which version
// is arranged, and when another one has proved itself, is not decided here but by core/rollout, from what
// Standing tells.
//
// A swap never touches the old generation before the new one is ready: it runs, took every configuration that the
// old one took, and reaches the providers that the old one reaches. While both carry messages, what the new one
// surely did not send goes to the old one at once. A plugin whose session with its provider only one process may hold
// (capability exclusive) is handed over: new messages wait, the old generation lets go, the new one takes.
//
// go-plugin gives the launch, the handshake and the connection. Everything after that is this
// package's own: supervision, restart, drain, kill with a deadline, standard error, orphans, bounds.
//
// Goroutines. Arrange begins one per generation (generation.run), which owns all others of that
// generation: the keeper of the process (one locked thread, runner.keep), the readers of its two
// pipes and of what go-plugin carries of its output, and, while the process lives, one that follows its health, one that
// receives its events, one that configures its connectors and one that examines whether it is ready. The host owns the
// watch of the folder, one that copies what was found there, and one for each generation that retires, for each session
// that is handed over, and for each batch of copies to a shadow. Host.Stop ends and awaits them all.
//
// What is promised: a faulty plugin is an entry in Plugins and nothing else. It never fails
// Host.Start, never blocks another plugin, never outlives the gateway, and whatever it does, each
// delivery gets exactly one result.
package pluginhost
