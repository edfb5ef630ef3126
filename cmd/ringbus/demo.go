package main

import "github.com/spf13/cobra"

func newDemo(g *global) *cobra.Command    { return &cobra.Command{Use: "demo"} }
func newDemoPub(g *global) *cobra.Command { return &cobra.Command{Use: "demo-pub", Hidden: true} }
func newDemoSub(g *global) *cobra.Command { return &cobra.Command{Use: "demo-sub", Hidden: true} }
