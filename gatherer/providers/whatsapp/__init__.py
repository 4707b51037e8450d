"""WhatsApp's own objects, which Meta sends and other providers pass on."""
