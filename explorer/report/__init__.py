"""Tables, figures and the standalone page that show what a run found."""
