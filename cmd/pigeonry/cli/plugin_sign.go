package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"aead.dev/minisign"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

// passwordVariable holds the password of a secret key, where nobody can be asked.
const passwordVariable = "PIGEONRY_SIGN_PASSWORD"

func (p Process) pluginSign() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "sign <plugin.hcl or packed folder>",
		Short: "Sign a version of a plugin",
		Long: `Signs plugin.hcl, which holds the plugin's name, its version and the checksum of its executable. Gateways
whose settings trust the public key then know who has published it. The key is a secret key of minisign, as
plugin keygen and minisign -G make them, or an Ed25519 private key in PEM, as openssl genpkey makes them.

The password of a key is asked for at a terminal, and otherwise read from ` + passwordVariable + `.
An archive does not change: pack the folder again, or sign while packing with plugin pack --key.`,
		Example: `  pigeonry plugin sign dist/acme/1.1.0 --key acme.key
  pigeonry plugin sign dist/acme/1.1.0/plugin.hcl --key ed25519.pem`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			manifest := args[0]
			if info, err := os.Stat(manifest); err == nil && info.IsDir() {
				manifest = filepath.Join(manifest, catalog.ManifestFile)
			}
			if _, err := os.Stat(manifest); err != nil {
				return fmt.Errorf("find what to sign: %w; pigeonry plugin pack writes it", err)
			}
			password, err := p.keyPassword(cmd, key)
			if err != nil {
				return err
			}
			signature, err := catalog.Sign(manifest, key, password)
			if err != nil {
				return fmt.Errorf("sign: %w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "signed: %s\n", signature)
			return err
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "file with the secret key")
	cobra.CheckErr(cmd.MarkFlagRequired("key"))
	return cmd
}

func (p Process) pluginKeygen() *cobra.Command {
	var open bool
	cmd := &cobra.Command{
		Use:   "keygen <file>",
		Short: "Make a key that signs plugins",
		Long: `Writes a secret key, which minisign can use too, to the file, and the public key to <file>.pub. Operators
who trust you name the public key in trusted_keys of their settings.

The password that protects the secret key is asked for twice at a terminal, and otherwise read from
` + passwordVariable + `.`,
		Example: `  pigeonry plugin keygen acme.key
  pigeonry plugin keygen ci.key --no-password`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			password := ""
			if !open {
				var err error
				if password, err = p.newPassword(cmd); err != nil {
					return err
				}
			}
			key, err := catalog.GenerateKey(args[0], password)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), `key %s
%s is the secret key: keep it, and give it to nobody
%s.pub is the public key; who trusts it writes into gateway.hcl:

  plugins {
    trusted_keys = [file(%q)]
  }
`, key, args[0], args[0], args[0]+".pub")
			return err
		},
	}
	cmd.Flags().BoolVar(&open, "no-password", false, "do not protect the secret key: whoever has the file can sign")
	return cmd
}

// keyPassword returns the password of a secret key, "" if it needs none.
func (p Process) keyPassword(cmd *cobra.Command, key string) (string, error) {
	secret, err := os.ReadFile(key)
	if err != nil {
		return "", fmt.Errorf("read the secret key: %w", err)
	}
	if !minisign.IsEncrypted(secret) {
		return "", nil
	}
	if password := p.getenv(passwordVariable); password != "" {
		return password, nil
	}
	ask, ok := prompt(cmd)
	if !ok {
		return "", fmt.Errorf("the key %s has a password; set %s, or sign at a terminal", key, passwordVariable)
	}
	return ask("Password of " + key + ": ")
}

// newPassword returns a password for a new key.
func (p Process) newPassword(cmd *cobra.Command) (string, error) {
	if password := p.getenv(passwordVariable); password != "" {
		return password, nil
	}
	ask, ok := prompt(cmd)
	if !ok {
		return "", fmt.Errorf("the key needs a password; set %s, make the key at a terminal, or say --no-password", passwordVariable)
	}
	password, err := ask("Password for the secret key: ")
	if err != nil {
		return "", err
	}
	again, err := ask("The same once more: ")
	switch {
	case err != nil:
		return "", err
	case password != again:
		return "", errors.New("the two passwords differ; no key was made")
	case password == "":
		return "", errors.New("the password is empty; no key was made (--no-password makes one without)")
	}
	return password, nil
}

// prompt returns what asks for a password at the terminal; ok is false if there is none.
func prompt(cmd *cobra.Command) (ask func(question string) (string, error), ok bool) {
	file, ok := cmd.InOrStdin().(*os.File)
	if !ok || !isTerminal(file) {
		return nil, false
	}
	return func(question string) (string, error) {
		_, _ = io.WriteString(cmd.ErrOrStderr(), question)
		defer fmt.Fprintln(cmd.ErrOrStderr())
		answer, err := readPassword(cmd.Context(), int(file.Fd()))
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		return answer, nil
	}, true
}

// readPassword reads a line without showing it. Ctrl-C ends it at once, and the terminal shows again what is typed.
func readPassword(ctx context.Context, terminal int) (string, error) {
	before, err := term.GetState(terminal)
	if err != nil {
		return "", err
	}
	answer, failed := make(chan string, 1), make(chan error, 1)
	go func() { // it ends with the next line, or with the program
		line, err := term.ReadPassword(terminal)
		if err != nil {
			failed <- err
			return
		}
		answer <- string(line)
	}()
	select {
	case line := <-answer:
		return line, nil
	case err := <-failed:
		return "", err
	case <-ctx.Done():
		return "", errors.Join(errors.New("interrupted"), term.Restore(terminal, before))
	}
}
