"""A thermostat: the smallest daemon with a configuration, commands and background work.

bridle run examples.thermostat:Thermostat unix:/tmp/thermostat.sock
"""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

import bridle


class Thermostat(bridle.Daemon):
    """Keeps a room at its target temperature."""

    version = "1.0"

    class Configuration(msgspec.Struct, forbid_unknown_fields=True):
        """The target and the room's temperature at the start, in degrees Celsius; degrees a second."""

        target: float = 20.0
        room: float = 15.0
        rate: float = 0.5

    def configure(self, configuration: Configuration) -> None:
        """Take over the target; the room stays as warm as it is."""
        if not -30 <= configuration.target <= 60:
            raise bridle.ConfigurationError("target must lie between -30 and 60", path=["target"])
        self.target = configuration.target
        self.rate = configuration.rate
        self.room = getattr(self, "room", configuration.room)

    async def start(self) -> None:
        """Begin to heat."""
        self._heating = asyncio.create_task(self._heat())

    async def stop(self) -> None:
        """Stop heating."""
        self._heating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._heating

    async def _heat(self) -> None:
        while True:
            await asyncio.sleep(1)
            step = max(-self.rate, min(self.rate, self.target - self.room))
            if step:
                self.room += step
                if self.room == self.target:
                    self.events.publish("target-reached", {"celsius": self.room})

    @bridle.command(access="read")
    def temperature_get(self) -> dict[str, float]:
        """Tell the room's and the target temperature, in degrees Celsius."""
        return {"room": self.room, "target": self.target}

    @bridle.command(access="write")
    def set_target(self, celsius: float) -> dict[str, float]:
        """Set the target temperature, in degrees Celsius."""
        if not -30 <= celsius <= 60:
            raise bridle.CommandError(f"{celsius} is out of range: -30 to 60")
        self.target = celsius
        return {"target": celsius}

    @bridle.command(access="write")
    async def wait_for_target(self, max_period: float = 60.0) -> dict[str, float]:
        """Wait until the room is as warm as it should be, at most ``max-period`` seconds."""
        reached = asyncio.Event()
        unsubscribe = self.events.subscribe(lambda event: reached.set())
        try:
            if self.room != self.target:
                await asyncio.wait_for(reached.wait(), max_period)
        except TimeoutError:
            raise bridle.CommandError("the room is not there yet", bridle.Result.CONFLICT) from None
        finally:
            unsubscribe()
        return {"room": self.room}


if __name__ == "__main__":
    bridle.run(Thermostat(), "unix:/tmp/thermostat.sock")
