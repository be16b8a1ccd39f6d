// A channel plugin of Pigeonry in JavaScript, without an SDK.
//
// channel.js is the channel itself: begin there to make your own. service.js serves the plugin
// contract for it, gateway.js is the process: how it is started, connected to and ended.

import path from 'node:path'
import { description } from './channel.js'
import { serve, startedByGateway } from './gateway.js'

const { name, version } = description

if (process.argv.slice(2).some((arg) => arg === '-describe' || arg === '--describe')) {
  console.log(JSON.stringify(description, null, 2))
} else if (startedByGateway()) {
  serve()
} else {
  console.error(`${name} ${version} is a channel plugin of Pigeonry. The gateway starts it; by itself it does nothing.

To use it:    install it as <plugins dir>/${name}/${version}/${name} and name it in a connector: plugin = "${name}"
To look:      ${path.basename(process.argv[1])} -describe`)
  process.exitCode = 1
}
