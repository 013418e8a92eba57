"""Learn a new kind of fake from a few examples: task, replay buffer, strategies, choice, acceptance, writing."""
