package settings

import (
	"errors"
	"io/fs"
	"log/slog"
	"testing"

	"warren/mesh/config"
)

// folder is a Folder in memory.
type folder map[string]string

func (f folder) ReadFile(name string) ([]byte, error) {
	text, ok := f[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	if text == "broken disk" {
		return nil, errors.New("broken disk")
	}
	return []byte(text), nil
}

func (f folder) WriteFile(name string, content []byte) error {
	f[name] = string(content)
	return nil
}

func TestLoad(t *testing.T) {
	for _, test := range []struct {
		name, kept string
		configured int
		port       int
		pinned     bool
		down       bool
	}{
		{name: "nothing"},
		{name: "remembered", kept: `{"port":4000,"down":true}`, port: 4000, down: true},
		{name: "configured", configured: 5000, port: 5000, pinned: true},
		{name: "both", kept: `{"port":4000,"down":true}`, configured: 5000, port: 5000, pinned: true, down: true},
		{name: "cut off", kept: `{"port":40`},
		{name: "empty"},
		{name: "impossible", kept: `{"port":70000,"down":true}`},
		{name: "of a later version", kept: `{"port":4000,"more":[1]}`, port: 4000},
	} {
		f := folder{}
		if test.kept != "" {
			f[fileName] = test.kept
		}
		file := config.Default()
		file.ListenPort = test.configured
		s, err := Load(f, file, slog.New(slog.DiscardHandler))
		if err != nil || s.Port != test.port || s.Pinned != test.pinned || s.Down != test.down || s.Interface != file.Interface {
			t.Errorf("%s: got %+v, %v", test.name, s, err)
		}
	}
	if _, err := Load(folder{fileName: "broken disk"}, config.Default(), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a disk that cannot be read was no error")
	}
}

func TestSave(t *testing.T) {
	f := folder{}
	if err := (&Settings{Port: 4000, Down: true, Pinned: true}).Save(f); err != nil {
		t.Fatal(err)
	}
	s, err := Load(f, config.Default(), slog.New(slog.DiscardHandler))
	if err != nil || s.Port != 4000 || !s.Down || s.Pinned {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestPending(t *testing.T) {
	for _, test := range []struct {
		port   int
		pinned bool
		file   config.Config
		want   bool
	}{
		{port: 4000, file: config.Config{Interface: "warren0"}},
		{port: 4000, file: config.Config{Interface: "warren1"}, want: true},
		{port: 4000, file: config.Config{Interface: "warren0", ListenPort: 5000}, want: true},
		{port: 4000, file: config.Config{Interface: "warren0", ListenPort: 4000}},
		{port: 4000, pinned: true, file: config.Config{Interface: "warren0", ListenPort: 4000}},
		{port: 4000, pinned: true, file: config.Config{Interface: "warren0"}, want: true},
	} {
		s := Settings{Port: test.port, Pinned: test.pinned, Interface: "warren0"}
		if got := s.Pending(test.file); got != test.want {
			t.Errorf("port %d, pinned %v, file %+v: got %v", test.port, test.pinned, test.file, got)
		}
	}
}
