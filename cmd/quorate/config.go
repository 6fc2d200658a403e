package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/quoratedb/quorate/cmd/quorate/internal/conf"
)

func newConfig(a *app) *cobra.Command {
	return group("config", "Print and check the configuration of a node", newConfigPrint(a), newConfigCheck(a))
}

type keyRow struct {
	Key     string `json:"key"`
	Type    string `json:"type"`
	Default string `json:"default"`
	Value   string `json:"value"`
	Origin  string `json:"origin"`
	Env     string `json:"env"`
	Flag    string `json:"flag"`
	Meaning string `json:"meaning"`
}

func newConfigPrint(a *app) *cobra.Command {
	var file string
	var markdown bool
	c := &cobra.Command{Use: "print", Short: "List every key with its default, meaning, and the value in force here", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if markdown {
				_, err := io.WriteString(a.stdout, conf.Markdown())
				return err
			}
			l, err := conf.Load(conf.Sources{File: file, Env: a.environ})
			if err != nil {
				return err
			}
			a.warnStrangers(l)
			return a.showConfig(l)
		}}
	c.Flags().StringVarP(&file, "config", "c", "", "YAML file")
	c.Flags().BoolVar(&markdown, "markdown", false, "print docs/CONFIG.md")
	a.outputFlag(c, asTable)
	return c
}

func (a *app) showConfig(l *conf.Loaded) error {
	values := conf.Values(&l.Config)
	g := grid{head: []string{"key", "default", "value", "from", "meaning"}}
	var rows []any
	for _, k := range conf.Keys() {
		if k.Hidden {
			continue
		}
		row := keyRow{Key: k.Name, Type: k.Type(), Default: k.Default, Value: values[k.Name], Origin: l.Origin[k.Name], Env: k.Env, Flag: "--" + k.Name, Meaning: k.Doc}
		rows = append(rows, row)
		g.add(row.Key, dash(row.Default), dash(row.Value), row.Origin, row.Meaning)
	}
	return a.show(view{doc: rows, rows: rows, table: g.String, raw: g.raw})
}

func newConfigCheck(a *app) *cobra.Command {
	c := &cobra.Command{Use: "check [FILE]", Short: "Check a configuration file and the environment without starting anything", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s := conf.Sources{Env: a.environ}
			if len(args) == 1 {
				s.File = args[0]
			}
			l, err := conf.Load(s)
			if err != nil {
				return err
			}
			a.warnStrangers(l)
			fmt.Fprintln(a.stderr, "the configuration is in order")
			return nil
		}}
	return c
}

func (a *app) warnStrangers(l *conf.Loaded) {
	for _, name := range l.Strangers {
		fmt.Fprintf(a.stderr, "quorate: warning: no key has the environment variable %s; it is ignored\n", name)
	}
}
