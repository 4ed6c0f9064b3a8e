"""How much each filter, weight and activation contributes to what the network predicts."""
