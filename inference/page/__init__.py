"""The page of app.py: its parts in Gradio, what answers them, and its sentences in two languages."""
