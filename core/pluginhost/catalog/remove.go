package catalog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Remove deletes an installed version and the copy of its executable in the store, which another version of the
// plugin with the same bytes keeps. Without a checksum the copy stays. What is gone already is no error. A running
// process of the version is not touched.
func (c *Catalog) Remove(plugin, version, checksum string) error {
	folder, err := versionFolder(c.dir, plugin, version)
	if err != nil {
		return err
	}
	if checksum != "" && !digest.MatchString(checksum) {
		return fmt.Errorf("remove plugin %s %s: %q is no SHA-256", plugin, version, checksum)
	}
	if err := removeFolder(folder); err != nil {
		return fmt.Errorf("remove plugin %s %s: %w", plugin, version, err)
	}
	if checksum == "" {
		return nil
	}
	c.staging.Lock()
	defer c.staging.Unlock() // from before the look: what is installed meanwhile is staged afterwards
	if used, err := c.used(plugin, checksum); err != nil || used {
		return err
	}
	path := c.stored(plugin, checksum)
	delete(c.staged, path)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the stored plugin %s %s: %w", plugin, version, err)
	}
	remove(filepath.Dir(path)) // stays while another plugin has the same bytes
	return nil
}

// removeFolder takes a folder out of sight in one step, and then deletes it.
func removeFolder(folder string) error {
	aside, err := os.MkdirTemp(filepath.Dir(folder), ".tmp-removed-")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer os.RemoveAll(aside)
	if err := os.Rename(folder, filepath.Join(aside, "version")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(aside)
}

// used says whether an installed version of the plugin has these bytes.
func (c *Catalog) used(plugin, checksum string) (bool, error) {
	versions, err := c.Scan()
	if err != nil {
		return false, err
	}
	for _, v := range versions {
		if v.Name == plugin && v.SHA256 == checksum {
			return true, nil
		}
	}
	return false, nil
}
