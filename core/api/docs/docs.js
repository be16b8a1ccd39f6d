// Shows the contract. Nothing is fetched from elsewhere: no validator, no fonts.
window.addEventListener("load", () => {
  window.SwaggerUIBundle({
    url: "docs/openapi.yaml",
    dom_id: "#docs",
    validatorUrl: null,
    deepLinking: true,
    displayRequestDuration: true,
    persistAuthorization: false,
    presets: [window.SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
  });
});
