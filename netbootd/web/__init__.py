"""HTTP: boot files for firmware that can, and the nodes' word of how far they have come. Imports aiohttp."""
