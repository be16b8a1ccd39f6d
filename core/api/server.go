package api

import (
	"log/slog"
	"net/http"
	"time"
)

// Server returns an HTTP server for the handler, with limits of time and size that keep a slow or
// hostile client from holding on to the gateway. The caller gives it a listener and shuts it down.
func Server(handler http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}
