package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
	"github.com/pigeonry/pigeonry/core/pluginhost"
)

// checkStop bounds the end of the plugins that judged.
const checkStop = 10 * time.Second

// Verdict is what plugins say of the connectors' configurations, in the words and with the places of the file.
type Verdict struct {
	Faults   []string
	Warnings []string
}

// CheckPlugins has each connector's plugin judge its configuration: the highest version that is installed, in a process of its own that
// opens nothing and ends before it returns. A plugin that is not installed is a warning: it may be by the time of the start. The error
// says why nothing could be checked.
func CheckPlugins(ctx context.Context, s *settings.Settings, logger *slog.Logger) (v Verdict, err error) {
	if len(s.Connectors) == 0 {
		return v, nil
	}
	if _, err := os.Stat(s.Plugins.Dir); errors.Is(err, fs.ErrNotExist) {
		v.Warnings = append(v.Warnings, fmt.Sprintf("the configs of connectors are not checked: there is no folder %s with plugins (plugins.dir)", s.Plugins.Dir))
		return v, nil
	}
	dir, err := os.MkdirTemp("", "pigeonry-check-")
	if err != nil {
		return v, fmt.Errorf("make a folder for the plugins that judge: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	apart := *s // what runs elsewhere is left alone
	apart.DataDir, apart.Plugins.Store = dir, ""
	host, err := judges(ctx, &apart, logger)
	if err != nil {
		return v, err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkStop)
		defer cancel()
		err = errors.Join(err, host.Stop(stop))
	}()
	for _, c := range s.Connectors {
		config, err := json.Marshal(c.Config)
		if err != nil {
			return v, fmt.Errorf("encode the config of connector %s: %w", c.ID, err)
		}
		v.judge(ctx, host, s, pluginhost.ConnectorConfig{ID: c.ID, Plugin: c.Plugin, Config: config})
	}
	return v, nil
}

// judges starts the highest version of each plugin that a connector uses.
func judges(ctx context.Context, s *settings.Settings, logger *slog.Logger) (*pluginhost.Host, error) {
	installed, err := openCatalog(s, logger)
	if err != nil {
		return nil, err
	}
	host, err := pluginhost.New(pluginhost.Options{
		Catalog: installed, RuntimeDir: filepath.Join(s.DataDir, "run"), Env: s.Plugins.Env, Plaintext: s.Plugins.Plaintext,
		Sandbox: sandbox(s.Plugins.Sandbox), PublicURL: s.PublicURL, Logger: logger,
		Events: func(context.Context, []core.Receipt, []core.Inbound) error { return nil },
	})
	if err != nil {
		return nil, err
	}
	if err := host.Start(); err != nil {
		return nil, fmt.Errorf("start the plugins that judge: %w", err)
	}
	highest := map[string]string{}
	for _, v := range host.Installed() { // in the order of the versions
		highest[v.Plugin] = v.Version
	}
	for _, c := range s.Connectors {
		if version, ok := highest[c.Plugin]; ok {
			host.Arrange(c.Plugin, core.Arrangement{Active: version})
		}
	}
	host.Settle(ctx)
	return host, nil
}

func (v *Verdict) judge(ctx context.Context, host *pluginhost.Host, s *settings.Settings, c pluginhost.ConnectorConfig) {
	diagnostics, err := host.Validate(ctx, c)
	if err != nil {
		v.Warnings = append(v.Warnings, fmt.Sprintf("the config of connector %s is not checked: %v", c.ID, err))
	}
	for _, d := range diagnostics {
		text := describe(s, c.ID, d)
		if d.Warning {
			v.Warnings = append(v.Warnings, text)
		} else {
			v.Faults = append(v.Faults, text)
		}
	}
}
