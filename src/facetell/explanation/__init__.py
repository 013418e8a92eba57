"""Where in a face a network sees the fake: Grad-CAM, occlusion, attention, and whether these maps can be believed."""
