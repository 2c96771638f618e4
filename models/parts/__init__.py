"""Layers, graphs and pathways that several networks share."""
