"""Pi, by as many processes as mpiexec starts: each adds up its share of the strips below a quarter circle."""

import sys

from mpi4py import MPI

world = MPI.COMM_WORLD
strips = int(sys.argv[1])
share = range(world.rank, strips, world.size)
area = sum((1 - ((strip + 0.5) / strips) ** 2) ** 0.5 for strip in share) / strips
pi = 4 * world.allreduce(area)
counted = world.allreduce(len(share))
where = world.gather(MPI.Get_processor_name())
if world.rank == 0:
    print(f"pi is {pi:.6f}, by {counted} strips and {world.size} processes, on {' '.join(where)}")
