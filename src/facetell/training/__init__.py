"""Training: one short loop on Lightning Fabric, its recipe, its checkpoints."""
