// Package api is the HTTP interface of the gateway. The contract comes first: openapi.yaml says what
// there is, and the types, the routes and the client are generated from it.
//
// The routes are those of oapi-codegen's plain gin server. Its strict server would decode bodies through
// gin, which takes unknown and repeated fields; here one strict pass fills the same generated types, and
// a contract test holds every answer against openapi.yaml.
//
// A request passes: request id and access log, panic guard, API key, limits, the generated reading of
// parameters, the handler. A handler ends in one of two ways, ok or fail, and fail alone decides what a
// caller sees of an error.
package api

//go:generate oapi-codegen -config server.yaml openapi.yaml
//go:generate oapi-codegen -config client.yaml openapi.yaml
