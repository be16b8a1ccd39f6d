// The process as the gateway sees it: hashicorp/go-plugin's handshake and services, and its end.

import path from 'node:path'
import { Server, ServerCredentials, status } from '@grpc/grpc-js'
import { fromJSON } from '@grpc/proto-loader'
import protobuf from 'protobufjs'
import selfsigned from 'selfsigned'
import contract from '../../../proto/channel/v1/channel.proto' // its text: see build.sh
import * as log from './log.js'
import { Service } from './service.js'

const coreProtocol = 1 // of go-plugin
const protocol = 1 // of Pigeonry; a gateway that does not name it in PLUGIN_PROTOCOL_VERSIONS refuses it by itself
const maxReceiveBytes = 16 << 20 // gRPC's own bound of 4 MiB is too small for a batch with attachments
const orphanPoll = 250 // milliseconds
const orphanDrain = 2000
const orphanExit = 4000
const stopTime = 200 // for the last answers to travel; the gateway kills after two seconds

const serving = Buffer.from([0x08, 1]) // grpc.health.v1.HealthCheckResponse{status: SERVING}
const plugin = Buffer.from('\x0a\x06plugin') // grpc.health.v1.HealthCheckRequest{service: "plugin"}

export function startedByGateway() {
  return process.env.PIGEONRY_PLUGIN === 'channel.v1'
}

// serve serves until the gateway says Shutdown or is gone.
export async function serve() {
  const service = new Service()
  const server = new Server({ 'grpc.max_receive_message_length': maxReceiveBytes })
  const stop = () => setTimeout(() => {
    server.forceShutdown() // removes the socket
    process.exit(0)
  }, stopTime)
  watchSignals(service, stop)
  watchParent(service, stop)

  server.addService(channelService(), service.methods())
  addPluginServices(server, stop)
  const { credentials, certificate } = await mutualTLS()
  const address = path.join(process.env.PLUGIN_UNIX_SOCKET_DIR, 'plugin.sock')
  server.bindAsync(`unix:${address}`, credentials, (error) => {
    if (error) throw error
    console.log(`${coreProtocol}|${protocol}|unix|${address}|grpc|${certificate}`)
    log.capture()
  })
}

// channelService reads the contract, whose text is part of this file.
function channelService() {
  const root = new protobuf.Root()
  for (const name of ['duration', 'timestamp']) root.addJSON(protobuf.common.get(`google/protobuf/${name}.proto`).nested)
  protobuf.parse(contract, root, { keepCase: true })
  return fromJSON(root.toJSON(), { keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true })['channel.v1.ChannelService']
}

// addPluginServices adds what go-plugin wants beside the service itself. The messages are so small
// that bytes will do.
function addPluginServices(server, stop) {
  const asIs = (bytes) => bytes
  const method = (path, responseStream) => ({
    path, requestStream: false, responseStream,
    requestSerialize: asIs, requestDeserialize: asIs, responseSerialize: asIs, responseDeserialize: asIs,
  })
  server.addService({ Check: method('/grpc.health.v1.Health/Check', false) }, {
    Check: ({ request }, callback) => (
      request.equals(plugin) ? callback(null, serving) : callback({ code: status.NOT_FOUND, details: 'unknown service' })),
  })
  server.addService({ Shutdown: method('/plugin.GRPCController/Shutdown', false) }, {
    Shutdown: (call, callback) => {
      callback(null, Buffer.alloc(0)) // plugin.Empty
      stop()
    },
  })
  server.addService({ StreamStdio: method('/plugin.GRPCStdio/StreamStdio', true) }, {
    StreamStdio: () => {}, // open until the end, and silent: the standard error is the log already
  })
}

// mutualTLS is go-plugin's AutoMTLS: the gateway's certificate comes in the environment, our own, made
// for this process, goes back in the handshake line as base64 without padding. Each side trusts only the
// other.
async function mutualTLS() {
  const own = await selfsigned.generate([{ name: 'commonName', value: 'localhost' }], {
    keyType: 'ec', curve: 'P-256', algorithm: 'sha256',
    notBeforeDate: new Date(Date.now() - 60_000), notAfterDate: new Date(Date.now() + 3650 * 86_400_000),
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] }],
  })
  const pair = { private_key: Buffer.from(own.private), cert_chain: Buffer.from(own.cert) }
  const mustIdentify = true
  return {
    credentials: ServerCredentials.createSsl(Buffer.from(process.env.PLUGIN_CLIENT_CERT), [pair], mustIdentify),
    certificate: own.cert.replace(/-----[^-]+-----|\s|=/g, ''),
  }
}

// watchSignals ignores SIGTERM and SIGINT until the plugin is drained: a service manager that signals
// the whole group must not take the plugins away before the gateway has finished.
function watchSignals(service, stop) {
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.on(signal, () => {
      if (service.drained) stop()
      else log.info('signal ignored: the gateway decides when this plugin ends', { signal })
    })
  }
}

// watchParent ends the plugin when its gateway is gone, which shows in a new parent process. The
// standard input says nothing: it is /dev/null from the start.
function watchParent(service, stop) {
  const parent = process.ppid
  const watch = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(watch)
    log.warn('the gateway is gone: finishing what is in flight, then ending')
    setTimeout(() => process.exit(1), orphanExit)
    service.once('drained', stop)
    service.startDrain(orphanDrain, 'the gateway is gone')
  }, orphanPoll)
}
