package api

import (
	"embed"
	"net/http"

	"github.com/gin-gonic/gin"
)

//go:embed openapi.yaml docs
var documents embed.FS

// docsPolicy lets the page use its own files and nothing else: it works offline and tells nobody. Swagger
// UI writes style attributes and inline images.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// documentation registers the pages about the API. The files are Swagger UI (docs/swagger-ui.LICENSE).
func documentation(engine *gin.Engine) {
	engine.GET("/", func(c *gin.Context) { c.Redirect(http.StatusFound, "/docs") })
	for path, file := range map[string]struct{ name, kind string }{
		"/docs":                      {"docs/index.html", "text/html; charset=utf-8"},
		"/docs/docs.js":              {"docs/docs.js", "text/javascript; charset=utf-8"},
		"/docs/swagger-ui.css":       {"docs/swagger-ui.css", "text/css; charset=utf-8"},
		"/docs/swagger-ui-bundle.js": {"docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8"},
		"/docs/openapi.yaml":         {"openapi.yaml", "application/yaml"},
	} {
		engine.GET(path, document(file.name, file.kind))
	}
}

func document(name, kind string) gin.HandlerFunc {
	return func(c *gin.Context) {
		content, err := documents.ReadFile(name)
		if err != nil { // the name is one of those above
			c.Status(http.StatusNotFound)
			return
		}
		c.Header("Content-Security-Policy", docsPolicy)
		c.Header("Cache-Control", "max-age=300")
		c.Data(http.StatusOK, kind, content)
	}
}
