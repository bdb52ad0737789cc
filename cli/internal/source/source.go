// Package source reads the documents that a command is given: files, folders, standard input.
package source

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/manifest"
)

// Standard names standard input among the paths.
const Standard = "-"

// endings are of the files that count in a folder.
var endings = []string{".yaml", ".yml", ".json"}

// Read reads the documents of all paths. Their own paths begin with the file. Faults are of the texts; an error is of a file. A file without
// documents is none, as long as there are others.
func Read(paths []string, stdin io.Reader) ([]manifest.Document, []errs.Field, error) {
	var documents []manifest.Document
	var faults []errs.Field
	for _, path := range paths {
		files, err := filesOf(path)
		if err != nil {
			return nil, nil, err
		}
		for _, file := range files {
			text, err := read(file, stdin)
			if err != nil {
				return nil, nil, err
			}
			found, more := manifest.Split(text)
			if slices.Equal(more, empty) {
				continue
			}
			for _, d := range found {
				d.Path = file + " " + d.Path
				documents = append(documents, d)
			}
			for _, f := range more {
				faults = append(faults, errs.Field{Path: strings.TrimSuffix(file+" "+f.Path, " body"), Message: f.Message})
			}
		}
	}
	if len(documents) == 0 && len(faults) == 0 {
		return nil, nil, fmt.Errorf("read documents: there is none in %s", strings.Join(paths, ", "))
	}
	return documents, faults, nil
}

// empty are the faults of a text without documents.
var _, empty = manifest.Split(nil)

// filesOf returns the files of a folder in the order of their names; a file is itself.
func filesOf(path string) ([]string, error) {
	if path == Standard {
		return []string{Standard}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read documents: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("read documents: %w", err)
	}
	var files []string
	for _, entry := range entries {
		if !entry.IsDir() && slices.Contains(endings, filepath.Ext(entry.Name())) {
			files = append(files, filepath.Join(path, entry.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("read documents: %s holds no file that ends in %s", path, strings.Join(endings, ", "))
	}
	return files, nil
}

func read(file string, stdin io.Reader) ([]byte, error) {
	if file == Standard {
		text, err := io.ReadAll(stdin)
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return text, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read documents: %w", err)
	}
	return text, nil
}
