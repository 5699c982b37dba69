from django.urls import include, path
from rest_framework.routers import DefaultRouter

from taskapp import views

router = DefaultRouter()
router.register("tasks", views.TaskViewSet)
router.register("reversed", views.OtherWayRoundViewSet, basename="reversed")
router.register("everything", views.EverythingOfTasks, basename="everything")
router.register("live-tasks", views.LiveTasks, basename="live-tasks")
router.register("refusing", views.RefusingTasks, basename="refusing")
router.register("filtered", views.FilteredTasks, basename="filtered")
router.register("countries", views.CountryViewSet)

urlpatterns = [
    path("api/", include(router.urls)),
    path("open/", views.OpenTasks.as_view()),
    path("open-again/", views.OpenTasksAgain.as_view()),
    path("paged/", views.PagedTasks.as_view()),
    path("forbidden/", views.ForbiddenTasks.as_view()),
    path("atomic/", views.AtomicTasks.as_view()),
    path("atomic-postgres/", views.AtomicTasks.as_view(database="postgres")),
    path("non-atomic/", views.NonAtomicTasks.as_view()),
    path("one/<int:pk>/", views.OneTask.as_view()),
    path("undecided/", views.Undecided.as_view()),
    path("limited/", views.LimitedTasks.as_view()),
    path("cursors/", views.CursorTasks.as_view()),
    path("backend-rows/", views.RowsOfABackend.as_view()),
    path("backend-rows-known/", views.RowsOfABackendAndAQuery.as_view()),
    path("fixed-filter/", views.FixedFilter.as_view()),
    path("always-asked/", views.AlwaysAsked.as_view()),
    path("tickets-with-names/", views.TicketsWithNames.as_view()),
    path("tickets-with-teams/", views.TicketsWithTeams.as_view()),
    path("wrong-filter/", views.WrongFilter.as_view()),
    path("replica/", views.ReplicaTasks.as_view()),
    path("cached/", views.CachedTasks.as_view()),
    path("write/<title>", views.write_tasks),
    path("write-apart", views.write_apart),
    path("write-async", views.write_async),
    path("meetings/", views.Meetings.as_view()),
    path("people/", views.People.as_view()),
    path("own-people/", views.OwnPeople.as_view()),
    path("said-tasks/", views.SaidTasks.as_view()),
    path("several/", views.SeveralItems.as_view()),
]
