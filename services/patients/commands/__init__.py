"""Do: register and update patients, keep the timeline."""
